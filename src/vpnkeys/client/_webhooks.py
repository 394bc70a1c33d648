"""`/api/webhooks`: the addresses that the server sends events to."""

from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import quote

from pydantic import TypeAdapter

from vpnkeys.client._http import Http
from vpnkeys.wire.webhooks import Delivery, Webhook, WebhookDeleted, WebhookMade, WebhookTried

WebhookList: TypeAlias = list[Webhook]  # names that `Webhooks.list` does not hide
DeliveryList: TypeAlias = list[Delivery]

_PATH = "/api/webhooks"
_WEBHOOKS = TypeAdapter(WebhookList)
_DELIVERIES = TypeAdapter(DeliveryList)


class Webhooks:
    """The addresses that the server sends events to. Needs an API key or a token with the scope `admin`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> WebhookList:
        """Return all webhooks, oldest first."""
        return self._http.answer(_WEBHOOKS, "GET", _PATH)

    def create(self, url: str, events: Iterable[str] = ()) -> WebhookMade:
        """Make a webhook for these kinds of events, or for all, and return it with its secret. Raises Rejected."""
        return self._http.one(WebhookMade, "POST", _PATH, json={"url": url, "events": [*events]})

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        is_active: bool | None = None,
    ) -> Webhook:
        """Change a webhook and return it; what is not given stays as it is, and so does the secret.

        Raises NotFound, Rejected.
        """
        given = {"url": url, "events": None if events is None else [*events], "is_active": is_active}
        body = {name: value for name, value in given.items() if value is not None}
        return self._http.one(Webhook, "PATCH", _path(webhook_id), json=body)

    def delete(self, webhook_id: str) -> WebhookDeleted:
        """Remove a webhook, with all events that were not sent yet. Raises NotFound."""
        return self._http.one(WebhookDeleted, "DELETE", _path(webhook_id))

    def test(self, webhook_id: str) -> WebhookTried:
        """Send a ping now and return what the receiver answered. Raises NotFound."""
        return self._http.one(WebhookTried, "POST", _path(webhook_id, "test"))

    def deliveries(self, webhook_id: str) -> DeliveryList:
        """Return the newest hundred events, sent and to be sent, newest first. Raises NotFound."""
        return self._http.answer(_DELIVERIES, "GET", _path(webhook_id, "deliveries"))


def _path(webhook_id: str, *more: str) -> str:
    if webhook_id in {"", ".", ".."}:  # another path
        raise ValueError("give the webhook's id")
    return "/".join([_PATH, quote(webhook_id, safe=""), *more])
