"""`/api/webhooks`: who is told of events."""

from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import quote

from pydantic import TypeAdapter

from vpnkeys.client._http import Http
from vpnkeys.client._models import Answer, Done, Microseconds


class Webhook(Answer):
    """A webhook. No `events` are all of them."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    is_active: bool
    created_at: Microseconds


class WebhookMade(Webhook):
    """A webhook that was made just now. Its `secret` signs what is sent to it, and is told this once."""

    secret: str


class WebhookTried(Answer):
    """What came of a ping: the HTTP status of the receiver's answer, or what is wrong."""

    event_id: str
    delivered: bool
    status: int | None = None
    last_error: str | None = None
    duration_ms: float | None = None


class Delivery(Answer):
    """One event on its way. It was given up when it has neither been delivered nor is to be tried again."""

    id: str
    event: str
    created_at: Microseconds
    attempts: int
    delivered_at: Microseconds | None = None
    next_try_at: Microseconds | None = None
    last_error: str | None = None


WebhookList: TypeAlias = list[Webhook]  # names that `Webhooks.list` does not hide
DeliveryList: TypeAlias = list[Delivery]

_PATH = "/api/webhooks"
_WEBHOOKS = TypeAdapter(WebhookList)
_DELIVERIES = TypeAdapter(DeliveryList)


class Webhooks:
    """Who is told of events. Needs an API key or a token with the scope `admin`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> WebhookList:
        """All webhooks, oldest first."""
        return self._http.answer(_WEBHOOKS, "GET", _PATH)

    def create(self, url: str, events: Iterable[str] = ()) -> WebhookMade:
        """Make a webhook for these kinds of events; none are all. Raises Rejected."""
        return self._http.one(WebhookMade, "POST", _PATH, json={"url": url, "events": [*events]})

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        is_active: bool | None = None,
    ) -> Webhook:
        """Change a webhook; what is not given stays as it is, and so does the secret. Raises NotFound, Rejected."""
        given = {"url": url, "events": None if events is None else [*events], "is_active": is_active}
        body = {name: value for name, value in given.items() if value is not None}
        return self._http.one(Webhook, "PATCH", _path(webhook_id), json=body)

    def delete(self, webhook_id: str) -> Done:
        """Remove a webhook, with all that it has still to be told. Raises NotFound."""
        return self._http.one(Done, "DELETE", _path(webhook_id))

    def test(self, webhook_id: str) -> WebhookTried:
        """Send a ping now, and wait for what the receiver says. Raises NotFound."""
        return self._http.one(WebhookTried, "POST", _path(webhook_id, "test"))

    def deliveries(self, webhook_id: str) -> DeliveryList:
        """What a webhook was told and has still to be told, the newest hundred, newest first. Raises NotFound."""
        return self._http.answer(_DELIVERIES, "GET", _path(webhook_id, "deliveries"))


def _path(webhook_id: str, *more: str) -> str:
    if webhook_id in {"", ".", ".."}:  # another path
        raise ValueError("give the webhook's id")
    return "/".join([_PATH, quote(webhook_id, safe=""), *more])
