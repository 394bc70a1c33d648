"""Declares the protocol of the outbox of webhooks."""

from datetime import datetime
from typing import Protocol

from vpnkeys.domain.webhook import Delivery, Webhook


class Outbox(Protocol):
    """Stores webhooks and the deliveries to them, inside a write transaction."""

    def put_webhook(self, webhook: Webhook) -> None:
        """Add a webhook, or change the one with its id."""
        ...

    def delete_webhook(self, webhook_id: str) -> None:
        """Remove a webhook with all its deliveries. A missing one is no error."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """Store the result of a try. No error when the webhook was removed meanwhile."""
        ...

    def retry_at(self, webhook_id: str, at: datetime) -> None:
        """Let all deliveries that a webhook still waits for be tried at this time."""
        ...

    # A receiver that is off for weeks must not fill the disk, and deliveries show what went wrong lately.
    def prune(self, delivered_before: datetime, given_up_before: datetime) -> None:
        """Delete delivered and given-up deliveries whose event is older than the time for each."""
        ...
