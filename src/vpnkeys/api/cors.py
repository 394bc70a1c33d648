"""Lets pages of other origins call the API from a browser, where a setting names them (CORS, Fetch standard)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from vpnkeys.api.problems import DESCRIBED_HEADERS

_METHODS = ("GET", "POST", "PATCH", "DELETE")
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-API-Key", "X-Request-ID")
_OF_SUBSCRIPTIONS = (
    "Announce",
    "Content-Disposition",
    "ETag",
    "Profile-Title",
    "Profile-Update-Interval",
    "Profile-Web-Page-Url",
    "Subscription-Userinfo",
    "Support-Url",
)
READABLE = (*DESCRIBED_HEADERS, *_OF_SUBSCRIPTIONS)
"""What scripts of other origins may read of an answer's head, beside what browsers let them read of any answer.

Left out is what only browsers and proxies go by, such as Location: a script is given the answer behind a redirect.
"""


class CrossOrigin:
    """Answers browsers that ask whether another origin may call the API, and marks answers as readable for it.

    The dashboard is left out, and cookies are never allowed: a page of another origin acts with the key or token that
    it was given, and never with the session of a person who is signed in.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._api = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=READABLE,
            allow_credentials=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_dashboard = scope["type"] == "http" and scope["path"].startswith("/ui")
        await (self._app if is_dashboard else self._api)(scope, receive, send)
