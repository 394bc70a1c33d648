"""Webhooks, and what is to be told to them, in an SQL database.

What is to be told is written in the transaction of what happened, so that neither is there without the other.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from vpnkeys.domain.event import Event, Kind, NewEvent
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.store.sql.tables import deliveries, webhooks

_ALL_WEBHOOKS = select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id)

# A range of dates, where IS NOT NULL would say the same: SQLite then uses the index, and does not read its way through
# all that was delivered in a week.
_UNSETTLED = select(deliveries.c.id).where(deliveries.c.next_try_at >= datetime.min)  # noqa: DTZ901 - as everywhere


@dataclass(frozen=True, slots=True)
class SqlOutbox:
    """Keeps the promises of `interfaces.Outbox` on one connection. `webhooks` are those of before this transaction."""

    _connection: Connection
    webhooks: tuple[Webhook, ...]

    def add_events(self, events: Iterable[NewEvent], at: datetime) -> None:
        """Let everybody who wants to know be told."""
        if not any(webhook.is_active for webhook in self.webhooks):
            return
        rows = [
            _new_row(webhook, event)
            for event in (Event.of(one, at) for one in events)
            for webhook in self.webhooks
            if webhook.wants(event.kind)
        ]
        if rows:
            self._connection.execute(insert(deliveries), rows)

    def put_webhook(self, webhook: Webhook) -> None:
        """Add or change a webhook; what it has still to be told stays."""
        row = asdict(webhook) | {"events": ",".join(webhook.events)}
        if not self._connection.execute(update(webhooks).where(webhooks.c.id == webhook.id).values(row)).rowcount:
            self._connection.execute(insert(webhooks).values(row))

    def delete_webhook(self, webhook_id: str) -> None:
        """Remove a webhook, with all that it was told and was to be told."""
        self._connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))

    def settle(self, delivery: Delivery) -> None:
        """Write down how a try went."""
        row = asdict(delivery)
        tried = {name: row[name] for name in ("attempts", "next_try_at", "delivered_at", "last_error")}
        self._connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(tried))

    def retry_at(self, webhook_id: str, at: datetime) -> None:
        """Let all that a webhook has still to be told be tried at this time."""
        here = (deliveries.c.webhook_id == webhook_id) & deliveries.c.id.in_(_UNSETTLED)
        self._connection.execute(update(deliveries).where(here).values(next_try_at=at))

    def prune(self, delivered_before: datetime, given_up_before: datetime) -> None:
        """Forget what was delivered, and what was given up, if it is older."""
        at, end = deliveries.c.created_at, deliveries.c.delivered_at
        self._connection.execute(delete(deliveries).where(end.is_not(None), at < delivered_before))
        is_given_up = end.is_(None) & deliveries.c.next_try_at.is_(None)
        self._connection.execute(delete(deliveries).where(is_given_up, at < given_up_before))


def read_webhooks(connection: Connection) -> tuple[Webhook, ...]:
    """All webhooks, oldest first."""
    return tuple(_to_webhook(row) for row in connection.execute(_ALL_WEBHOOKS).mappings())


def read_unsettled(connection: Connection, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
    """What a webhook has still to be told, oldest first."""
    table = deliveries.c
    wanted = select(deliveries).where(table.webhook_id == webhook_id, table.id.in_(_UNSETTLED)).order_by(table.id)
    return tuple(_to_delivery(row) for row in connection.execute(wanted.limit(limit)).mappings())


def read_newest(connection: Connection, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
    """What a webhook was told or has still to be told, newest first."""
    table = deliveries.c
    wanted = select(deliveries).where(table.webhook_id == webhook_id).order_by(table.id.desc())
    return tuple(_to_delivery(row) for row in connection.execute(wanted.limit(limit)).mappings())


def _new_row(webhook: Webhook, event: Event) -> dict[str, object]:
    return {
        "webhook_id": webhook.id,
        "event_id": event.id,
        "event": event.kind.value,
        "body": event.body(),
        "created_at": event.at,
        "next_try_at": event.at,
    }


def _to_webhook(row: RowMapping) -> Webhook:
    return Webhook(**{**row, "events": tuple(Kind(name) for name in row["events"].split(",") if name)})


def _to_delivery(row: RowMapping) -> Delivery:
    return Delivery(**{**row, "event": Kind(row["event"])})
