"""The client for webhooks, imported when the first event is sent."""

from collections.abc import Mapping

from vpnkeys.domain.webhook import SendResult, SendWebhook


class LazyWebhookClient:
    """Implements `domain.webhook.SendWebhook` by `WebhookClient`, which it imports at the first event.

    Most servers have no webhook, and importing httpx would cost each of them time at the start and memory.
    """

    def __init__(self) -> None:
        self._post: SendWebhook | None = None

    async def __call__(self, url: str, headers: Mapping[str, str], body: str) -> SendResult:
        """Send one event, as `WebhookClient` does."""
        if self._post is None:
            from vpnkeys.hooks.client import WebhookClient  # noqa: PLC0415 - see above

            self._post = WebhookClient()
        return await self._post(url, headers, body)
