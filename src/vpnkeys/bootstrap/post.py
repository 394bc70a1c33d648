"""The way out to webhooks, loaded when the first of them has something to hear."""

from collections.abc import Mapping

from vpnkeys.domain.webhook import Answer, Post


class LatePost:
    """Keeps the promise of `domain.webhook.Post` by `HttpPost`.

    Most servers have no webhook, and httpx would take its part of every start and of the memory all the same.
    """

    def __init__(self) -> None:
        self._post: Post | None = None

    async def __call__(self, url: str, headers: Mapping[str, str], body: str) -> Answer:
        """Send it."""
        if self._post is None:
            from vpnkeys.hooks.post import HttpPost  # noqa: PLC0415 - see above

            self._post = HttpPost()
        return await self._post(url, headers, body)
