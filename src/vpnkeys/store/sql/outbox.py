"""Stores webhooks, and the deliveries to them, in an SQL database.

Deliveries are written in the transaction of the event itself, so that neither exists without the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from vpnkeys.domain.event import Event, Kind, NewEvent
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.store.sql.tables import deliveries, limit_notices, webhooks

_ALL_WEBHOOKS = select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id)

# A range of dates, where IS NOT NULL would say the same: SQLite then uses the index, and does not read its way through
# all that was delivered in a week.
_UNSETTLED = select(deliveries.c.id).where(deliveries.c.next_try_at >= datetime.min)  # noqa: DTZ901 - as everywhere


@dataclass(frozen=True, slots=True)
class SqlOutbox:
    """Implements `interfaces.Outbox` on one connection. `webhooks` are those from before this transaction."""

    _connection: Connection
    webhooks: tuple[Webhook, ...]

    def add_events(self, events: Iterable[NewEvent], at: datetime) -> None:
        """Add a delivery of each event for each active webhook that wants its kind."""
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
        """Add a webhook, or change the one with its id. Its deliveries stay."""
        # Not deleted and added: that would delete the deliveries with it (ON DELETE CASCADE).
        # No kinds are stored as an empty text, which means all kinds, also those of later versions.
        row = asdict(webhook) | {"events": ",".join(webhook.events)}
        if not self._connection.execute(update(webhooks).where(webhooks.c.id == webhook.id).values(row)).rowcount:
            self._connection.execute(insert(webhooks).values(row))

    def delete_webhook(self, webhook_id: str) -> None:
        """Remove a webhook with all its deliveries."""
        self._connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))

    def settle(self, delivery: Delivery) -> None:
        """Store the result of a try."""
        row = asdict(delivery)
        tried = {name: row[name] for name in ("attempts", "next_try_at", "delivered_at", "last_error")}
        # What was delivered stays so: a server that was slow may say later that its own try has failed.
        here = (deliveries.c.id == delivery.id) & deliveries.c.delivered_at.is_(None)
        self._connection.execute(update(deliveries).where(here).values(tried))

    def retry_at(self, webhook_id: str, at: datetime) -> None:
        """Let all deliveries that a webhook still waits for be tried at this time."""
        here = (deliveries.c.webhook_id == webhook_id) & deliveries.c.id.in_(_UNSETTLED)
        self._connection.execute(update(deliveries).where(here).values(next_try_at=at))

    def prune(self, delivered_before: datetime, given_up_before: datetime) -> None:
        """Delete deliveries whose event is older than these times: delivered ones, and ones that were given up."""
        at, end = deliveries.c.created_at, deliveries.c.delivered_at
        self._connection.execute(delete(deliveries).where(end.is_not(None), at < delivered_before))
        is_given_up = end.is_(None) & deliveries.c.next_try_at.is_(None)
        self._connection.execute(delete(deliveries).where(is_given_up, at < given_up_before))


def read_webhooks(connection: Connection) -> tuple[Webhook, ...]:
    """Return all webhooks, oldest first."""
    return tuple(_to_webhook(row) for row in connection.execute(_ALL_WEBHOOKS).mappings())


def read_unsettled(connection: Connection, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
    """Return up to `limit` deliveries that a webhook still waits for, oldest first."""
    table = deliveries.c
    wanted = select(deliveries).where(table.webhook_id == webhook_id, table.id.in_(_UNSETTLED)).order_by(table.id)
    return tuple(_to_delivery(row) for row in connection.execute(wanted.limit(limit)).mappings())


def read_notices(connection: Connection) -> Mapping[str, Notice]:
    """Return how near keys are to their traffic limits, by id, as webhooks have been notified."""
    return {key_id: Notice(*rest) for key_id, *rest in connection.execute(select(limit_notices))}


def read_newest(connection: Connection, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
    """Return up to `limit` deliveries of a webhook, of every state, newest first."""
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
