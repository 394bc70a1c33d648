"""Webhooks and deliveries in memory, as `vpnkeys.interfaces.Outbox` promises them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from vpnkeys.domain.event import Event, NewEvent
from vpnkeys.domain.webhook import Delivery, Webhook


@dataclass(slots=True)
class FakeOutbox:
    """Its own table: a list in the order of telling."""

    hooks: dict[str, Webhook] = field(default_factory=dict)
    rows: list[Delivery] = field(default_factory=list)
    told: int = 0

    def add_events(self, events: Iterable[NewEvent], at: datetime) -> None:
        """Everybody who wants to know."""
        for event in [Event.of(one, at) for one in events]:
            for hook in self.hooks.values():
                if hook.wants(event.kind):
                    self.told += 1
                    self.rows.append(_new(self.told, hook, event))

    def put_webhook(self, webhook: Webhook) -> None:
        """Add or change."""
        self.hooks[webhook.id] = webhook

    def delete_webhook(self, webhook_id: str) -> None:
        """With its deliveries."""
        self.hooks.pop(webhook_id, None)
        self.rows = [row for row in self.rows if row.webhook_id != webhook_id]

    def settle(self, delivery: Delivery) -> None:
        """If it is still there, and not delivered yet."""
        self.rows = [delivery if row.id == delivery.id and not row.delivered_at else row for row in self.rows]

    def retry_at(self, webhook_id: str, at: datetime) -> None:
        """All that wait."""
        self.rows = [replace(row, next_try_at=at) if row in self.unsettled(webhook_id) else row for row in self.rows]

    def prune(self, delivered_before: datetime, given_up_before: datetime) -> None:
        """Of what is settled."""

        def is_old(row: Delivery) -> bool:
            return row.created_at < (given_up_before if row.delivered_at is None else delivered_before)

        self.rows = [row for row in self.rows if row.next_try_at is not None or not is_old(row)]

    def webhooks(self) -> tuple[Webhook, ...]:
        """Oldest first."""
        return tuple(sorted(self.hooks.values(), key=lambda hook: (hook.created_at, hook.id)))

    def unsettled(self, webhook_id: str) -> tuple[Delivery, ...]:
        """Oldest first."""
        return tuple(row for row in self.rows if row.webhook_id == webhook_id and row.next_try_at is not None)

    def deliveries(self, webhook_id: str) -> tuple[Delivery, ...]:
        """Newest first."""
        return tuple(row for row in reversed(self.rows) if row.webhook_id == webhook_id)


def _new(row_id: int, hook: Webhook, event: Event) -> Delivery:
    return Delivery(
        id=row_id,
        webhook_id=hook.id,
        event_id=event.id,
        event=event.kind,
        body=event.body(),
        created_at=event.at,
        attempts=0,
        next_try_at=event.at,
        delivered_at=None,
        last_error="",
    )
