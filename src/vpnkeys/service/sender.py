"""Tell webhooks what they are to be told: each event at least once, in order, until it arrives or is given up.

What is to be told is in the database, put there by the transaction of the event itself. So nothing is lost when this
process dies at any moment; what was just under way is sent again, with the same id.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.webhook import Delivery, SendWebhook, Webhook, signed_headers
from vpnkeys.interfaces import Clock, Store
from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_PRUNE_EVERY_S = 3600.0
_DELIVERED_KEPT, _GIVEN_UP_KEPT = timedelta(days=7), timedelta(days=30)
_TRIES_BEFORE_A_WARNING = 4
_JOB = Job(
    name="webhooks",
    failing="webhooks are not told of events for now",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 1.0, 2.0, 5.0),
    back_offs_s={Unavailable: (_LOOK_EVERY_S,)},
    late_after_s=30.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class Sender:
    """One thread for all webhooks; in it, nobody waits for another's receiver."""

    store: Store
    post: SendWebhook
    clock: Clock
    chance: Callable[[], float] = random.random
    worker: AsyncWorker = field(init=False)
    _under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _pruned_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """The worker begins with whatever an earlier life left; what it breaks off is sent again after a start."""
        self.worker = AsyncWorker(_JOB, self._look)

    async def deliver_due(self, webhook_id: str) -> None:
        """Send what is due to one webhook, oldest first. A try that fails ends it: the next event waits for this one.

        Raises Unavailable when the database does not answer.
        """
        while (webhook := self._active(webhook_id)) is not None:
            delivery = next(iter(self.store.unsettled(webhook_id, 1)), None)
            if delivery is None or not delivery.is_due(self.clock.now()):
                return
            tried = await self._try(webhook, delivery)
            with self.store.write() as transaction:
                transaction.outbox.settle(tried)

    async def _try(self, webhook: Webhook, delivery: Delivery) -> Delivery:
        headers = signed_headers(webhook, delivery.event_id, delivery.event, delivery.body, self.clock.now())
        answer = await self.post(webhook.url, headers, delivery.body)
        now = self.clock.now()
        if answer.is_success:
            return delivery.delivered(now)
        tried = delivery.failed(answer.trouble, now, self.chance())
        if tried.next_try_at is None:
            _log.warning("webhook %s: event %s is given up after %d tries", webhook.id, tried.event_id, tried.attempts)
        elif tried.attempts == _TRIES_BEFORE_A_WARNING:
            _log.warning("webhook %s takes no events; they are kept, and its deliveries say what is wrong", webhook.id)
        return tried

    def _active(self, webhook_id: str) -> Webhook | None:
        return next((one for one in self.store.webhooks() if one.id == webhook_id and one.is_active), None)

    def prune(self) -> None:
        """Forget what was settled long ago. Raises Unavailable."""
        now = self.clock.now()
        with self.store.write() as transaction:
            transaction.outbox.prune(now - _DELIVERED_KEPT, now - _GIVEN_UP_KEPT)

    async def _look(self) -> None:
        """Begin to deliver to each webhook for which something waits, and to which nothing is under way.

        Raises what a delivery that has ended since the last look raised, after the others have begun.
        """
        failures = self._take_failures()
        active = [webhook.id for webhook in self.store.webhooks() if webhook.is_active]
        for webhook_id in active:
            if webhook_id not in self._under_way and self.store.unsettled(webhook_id, 1):
                self._under_way[webhook_id] = asyncio.create_task(self.deliver_due(webhook_id))
        if active and time.monotonic() - self._pruned_at >= _PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            self.prune()
        if failures:
            raise failures[0]

    def _take_failures(self) -> list[BaseException]:
        """Forget the deliveries that have ended, and return what they raised."""
        ended = [webhook_id for webhook_id, task in self._under_way.items() if task.done()]
        tasks = [self._under_way.pop(webhook_id) for webhook_id in ended]
        return [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
