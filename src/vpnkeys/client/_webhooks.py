"""`/api/webhooks`: the addresses that the server sends events to."""

from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import quote

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, one
from vpnkeys.wire.webhooks import Delivery, Webhook, WebhookDeleted, WebhookMade, WebhookTried

WebhookList: TypeAlias = list[Webhook]  # names that `Webhooks.list` does not hide
DeliveryList: TypeAlias = list[Delivery]

_PATH = "/api/webhooks"
_WEBHOOKS = TypeAdapter(WebhookList)
_DELIVERIES = TypeAdapter(DeliveryList)


class WebhooksRequests:
    """The addresses that the server sends events to. Needs an API key or a token with the scope `admin`."""

    @Request
    def list(self) -> Call[WebhookList]:
        """Return all webhooks, oldest first."""
        return answer(_WEBHOOKS, "GET", _PATH)

    @Request
    def create(self, url: str, events: Iterable[str] = ()) -> Call[WebhookMade]:
        """Make a webhook for these kinds of events, or for all, and return it with its secret. Raises Rejected."""
        return one(WebhookMade, "POST", _PATH, json={"url": url, "events": [*events]})

    @Request
    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        is_active: bool | None = None,
    ) -> Call[Webhook]:
        """Change a webhook and return it; what is not given stays as it is, and so does the secret.

        Raises NotFound, Rejected.
        """
        given = {"url": url, "events": None if events is None else [*events], "is_active": is_active}
        body = {name: value for name, value in given.items() if value is not None}
        return one(Webhook, "PATCH", _path(webhook_id), json=body)

    @Request
    def delete(self, webhook_id: str) -> Call[WebhookDeleted]:
        """Remove a webhook, with all events that were not sent yet. Raises NotFound."""
        return one(WebhookDeleted, "DELETE", _path(webhook_id))

    @Request
    def test(self, webhook_id: str) -> Call[WebhookTried]:
        """Send a ping now and return what the receiver answered. Raises NotFound."""
        return one(WebhookTried, "POST", _path(webhook_id, "test"))

    @Request
    def deliveries(self, webhook_id: str) -> Call[DeliveryList]:
        """Return the newest hundred events, sent and to be sent, newest first. Raises NotFound."""
        return answer(_DELIVERIES, "GET", _path(webhook_id, "deliveries"))


class Webhooks(Part, WebhooksRequests):
    """The addresses that the server sends events to. Needs an API key or a token with the scope `admin`."""


class AsyncWebhooks(AsyncPart, WebhooksRequests):
    """The addresses that the server sends events to. Needs an API key or a token with the scope `admin`."""


def _path(webhook_id: str, *more: str) -> str:
    if webhook_id in {"", ".", ".."}:  # another path
        raise ValueError("give the webhook's id")
    return "/".join([_PATH, quote(webhook_id, safe=""), *more])
