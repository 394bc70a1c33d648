"""Tell webhooks what they are to be told: each event at least once, in order, until it arrives or is given up.

What is to be told is in the database, put there by the transaction of the event itself. So nothing is lost when this
process dies at any moment; what was just under way is sent again, with the same id.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.webhook import Delivery, Post, Webhook, signed_headers
from vpnkeys.interfaces import Clock, Store

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_PRUNE_EVERY_S = 3600.0
_STOP_TIMEOUT_S = 5.0
_DELIVERED_KEPT, _GIVEN_UP_KEPT = timedelta(days=7), timedelta(days=30)
_TRIES_BEFORE_A_WARNING = 4
_AFTER_A_BUG_S = 60.0


@dataclass(slots=True)
class Sender:
    """One thread for all webhooks; in it, nobody waits for another's receiver."""

    store: Store
    post: Post
    clock: Clock
    chance: Callable[[], float] = random.random
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _wake: Callable[[], object] | None = field(default=None, init=False)
    _under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _is_silent: bool = field(default=False, init=False)
    _pruned_at: float = field(default=float("-inf"), init=False)

    def start(self) -> None:
        """Begin, with whatever an earlier life left behind."""
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is under way is broken off, and sent again after the next start."""
        self._ending.set()
        if self._wake is not None:
            with suppress(RuntimeError):  # its loop has ended already
                self._wake()
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT_S)

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

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                asyncio.run(self._look_for_ever())
            except Exception as error:  # noqa: BLE001 - a thread's last resort
                # Whatever it was, a server whose webhooks stay silent for ever would be worse.
                _log.error("webhooks had to begin anew", exc_info=error)
                self._ending.wait(_AFTER_A_BUG_S)

    async def _look_for_ever(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        while not self._ending.is_set():
            await self._or_later(self._look())
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), _LOOK_EVERY_S)

    async def _look(self) -> None:
        active = [webhook.id for webhook in self.store.webhooks() if webhook.is_active]
        for webhook_id in active:
            task = self._under_way.get(webhook_id)
            if task is not None and not task.done():
                continue
            if self.store.unsettled(webhook_id, 1):
                self._under_way[webhook_id] = asyncio.create_task(self._or_later(self.deliver_due(webhook_id)))
        if active and time.monotonic() - self._pruned_at >= _PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            self.prune()

    async def _or_later(self, work: Awaitable[None]) -> None:
        """When the database does not answer, the next look comes soon; said once."""
        try:
            await work
        except Unavailable as error:
            if not self._is_silent:
                _log.warning("webhooks are not told of events for now: %s", error)
            self._is_silent = True
        else:
            self._is_silent = False
