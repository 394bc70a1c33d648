"""Sends each event to its webhooks, in order, until it is accepted or given up; a crash may repeat one.

The transaction of an event also stores its deliveries. So nothing is lost when this process dies at any moment; a
delivery that was being sent then is sent again, with the same event id.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ParamSpec, TypeVar

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.webhook import Delivery, SendWebhook, Webhook, signed_headers
from vpnkeys.interfaces import Clock, Store
from vpnkeys.worker import AsyncWorker, Job

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_PRUNE_EVERY_S = 3600.0
_DELIVERED_KEPT, _GIVEN_UP_KEPT = timedelta(days=7), timedelta(days=30)
_TRIES_BEFORE_A_WARNING = 4
_JOB = Job(
    name="webhooks",
    failing="events are not delivered to webhooks",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 1.0, 2.0, 5.0),
    back_offs_s={Unavailable: (_LOOK_EVERY_S,)},
    late_after_s=30.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class Sender:
    """Delivers to all webhooks from one event loop, with a task each, so that a slow receiver delays only its own."""

    store: Store
    post: SendWebhook
    clock: Clock
    chance: Callable[[], float] = random.random
    turn: Callable[[], bool] = lambda: True
    """Returns whether this server sends, of several that share a database. Raises Unavailable."""
    worker: AsyncWorker = field(init=False)
    _under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _has_turn: bool = field(default=True, init=False)
    _pruned_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """Make the worker. It begins with what an earlier run of the service left undelivered."""
        self.worker = AsyncWorker(_JOB, self._look)

    async def deliver_due(self, webhook_id: str) -> None:
        """Send what is due to one webhook, oldest first, until a try fails: later events wait, to arrive in order.

        Raises Unavailable when the database does not answer.
        """
        # Webhook and delivery are read anew for each try: one may be changed or removed while the other is sent.
        while (webhook := await self._asked(self._active, webhook_id)) is not None:
            delivery = next(iter(await self._asked(self.store.unsettled, webhook_id, 1)), None)
            if delivery is None or not delivery.is_due(self.clock.now()):
                return
            await self._asked(self._settle, await self._try(webhook, delivery))
            if not self._has_turn:
                return  # another server goes on

    async def _asked(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the database says; one elsewhere is asked in a thread, as no event loop may wait for it."""
        if self.store.is_remote:
            return await asyncio.to_thread(ask, *args, **kwargs)
        return ask(*args, **kwargs)

    def _settle(self, tried: Delivery) -> None:
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
            _log.warning(
                "webhook %s takes no events; they are kept. Its list of deliveries says what is wrong", webhook.id
            )
        return tried

    def _active(self, webhook_id: str) -> Webhook | None:
        return next((one for one in self.store.webhooks() if one.id == webhook_id and one.is_active), None)

    def prune(self) -> None:
        """Delete what was delivered over 7 days ago or given up over 30 days ago. Raises Unavailable."""
        now = self.clock.now()
        with self.store.write() as transaction:
            transaction.outbox.prune(now - _DELIVERED_KEPT, now - _GIVEN_UP_KEPT)

    async def _look(self) -> None:
        """Start a task for each webhook that has something to deliver and no task yet.

        Raises the first error of the tasks that ended since the last look, after the others have started.
        """
        failures = self._take_failures()
        self._has_turn = await self._asked(self.turn)
        webhooks = await self._asked(self.store.webhooks) if self._has_turn else ()
        active = [webhook.id for webhook in webhooks if webhook.is_active]
        for webhook_id in active:
            # One task a webhook, because two would send its events out of order.
            if webhook_id in self._under_way:
                continue
            waiting = await self._asked(self.store.unsettled, webhook_id, 1)
            if waiting:
                self._under_way[webhook_id] = asyncio.create_task(self.deliver_due(webhook_id))
        if active and time.monotonic() - self._pruned_at >= _PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            await self._asked(self.prune)
        if failures:
            raise failures[0]

    def _take_failures(self) -> list[BaseException]:
        """Remove the tasks that have ended, and return what they raised."""
        ended = [webhook_id for webhook_id, task in self._under_way.items() if task.done()]
        tasks = [self._under_way.pop(webhook_id) for webhook_id in ended]
        return [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
