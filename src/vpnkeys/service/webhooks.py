"""Makes, changes, tests and removes webhooks, which are notified of events."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import NotFound, Rejected
from vpnkeys.domain.event import Kind
from vpnkeys.domain.webhook import (
    Delivery,
    SendResult,
    SendWebhook,
    Webhook,
    in_order,
    new_webhook,
    parse_url,
    ping,
    signed_headers,
)
from vpnkeys.interfaces import Clock, Store

MOST_WEBHOOKS = 20
_MOST_LISTED = 100


class WebhookNotFound(NotFound):
    """Says that no webhook has this id."""

    code = "webhook_not_found"


class TooManyWebhooks(Rejected):
    """Says that the most webhooks allowed exist: each has a task of its own, and a row for every event."""

    code = "too_many_webhooks"


@dataclass(frozen=True, slots=True)
class Change:
    """Holds what should change of a webhook; None leaves a setting as it is."""

    url: str | None = None
    events: Iterable[Kind] | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class WebhookTest:
    """Holds the result of a ping."""

    event_id: str
    answer: SendResult
    took_s: float


@dataclass(frozen=True, slots=True)
class WebhookService:
    """Implements the use cases about webhooks."""

    store: Store
    clock: Clock
    post: SendWebhook

    def list(self) -> tuple[Webhook, ...]:
        """Return all webhooks, oldest first."""
        return self.store.webhooks()

    def get(self, webhook_id: str) -> Webhook:
        """Return one webhook. Raises WebhookNotFound."""
        found = next((webhook for webhook in self.store.webhooks() if webhook.id == webhook_id), None)
        if found is None:
            raise WebhookNotFound("There is no webhook with this id; GET /api/webhooks lists all webhooks.")
        return found

    def create(self, url: str, events: Iterable[Kind] = ()) -> Webhook:
        """Make a webhook for events of these kinds (none: all kinds), and return it, with its secret.

        Raises InvalidWebhookUrl, TooManyWebhooks.
        """
        webhook = new_webhook(parse_url(url), events, self.clock.now())
        with self.store.write() as transaction:
            # Under the write lock, so that of two requests at once only one takes the last place.
            if len(self.store.webhooks()) >= MOST_WEBHOOKS:
                raise TooManyWebhooks(
                    f"There are {MOST_WEBHOOKS} webhooks already, and no more are allowed; remove one first."
                )
            transaction.outbox.put_webhook(webhook)
            transaction.record(Entry("webhook.created", webhook.id, after=_facts(webhook)))
        return webhook

    def change(self, webhook_id: str, change: Change) -> Webhook:
        """Change a webhook and return it; what is still to be delivered is tried at once. Its secret stays.

        Raises WebhookNotFound, InvalidWebhookUrl.
        """
        url = None if change.url is None else parse_url(change.url)
        with self.store.write() as transaction:
            before = self.get(webhook_id)
            after = replace(
                before,
                url=before.url if url is None else url,
                events=before.events if change.events is None else in_order(change.events),
                is_active=before.is_active if change.is_active is None else change.is_active,
            )
            if after != before:
                transaction.outbox.put_webhook(after)
                transaction.outbox.retry_at(webhook_id, self.clock.now())
                transaction.record(Entry("webhook.changed", webhook_id, _facts(before), _facts(after)))
        return after

    def delete(self, webhook_id: str) -> None:
        """Remove a webhook; nothing more is sent to it. Raises WebhookNotFound."""
        with self.store.write() as transaction:
            gone = self.get(webhook_id)
            transaction.outbox.delete_webhook(webhook_id)
            transaction.record(Entry("webhook.deleted", webhook_id, before=_facts(gone)))

    def deliveries(self, webhook_id: str) -> tuple[Delivery, ...]:
        """Return the newest hundred deliveries of a webhook, newest first. Raises WebhookNotFound."""
        return self.store.deliveries(self.get(webhook_id).id, _MOST_LISTED)

    async def test(self, webhook_id: str) -> WebhookTest:
        """Send a ping now, once, and return its result. When it arrives, what still waits is tried again at once.

        Raises WebhookNotFound.
        """
        webhook = self.get(webhook_id)
        event = ping(self.clock.now())
        body, began = event.body(), time.monotonic()
        # Signed as every event is, so that a receiver can test its check of signatures too.
        headers = signed_headers(webhook, event.id, event.kind, body, event.at)
        answer = await self.post(webhook.url, headers, body)
        took_s = time.monotonic() - began
        if answer.is_success:
            # In a thread, because a commit waits for the disk.
            await asyncio.to_thread(self._retry_now, webhook_id)
        return WebhookTest(event.id, answer, took_s)

    def _retry_now(self, webhook_id: str) -> None:
        if self.store.unsettled(webhook_id, 1):
            with self.store.write() as transaction:
                transaction.outbox.retry_at(webhook_id, self.clock.now())


def _facts(webhook: Webhook) -> dict[str, object]:
    """Return what the audit log keeps of a webhook: the host, but not the path, which may be a secret."""
    return {
        "host": urlsplit(webhook.url).netloc,
        "events": [kind.value for kind in webhook.events],
        "is_active": webhook.is_active,
    }
