"""A bot's orders at two control planes that die in turn: what it was told is compared with all that is."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from tests.support.process import wait_until
from tests.support.receiver import Receiver
from tests.support.service import Service
from vpnkeys.client import ApiError, Client, NotFound

T = TypeVar("T")

WORKERS, MOST_KEPT = 3, 30


@dataclass(frozen=True)
class Deployment:
    """Two control planes, a client that knows their balancer alone, and who is told of what happens."""

    planes: tuple[Service, Service]
    client: Client
    receiver: Receiver
    placed: Callable[[], set[str]]
    """The ids of all keys on nodes."""


@dataclass
class Orders:
    """What a bot has asked for and been told, over and over until there is an answer."""

    deployment: Deployment
    numbers: Iterator[int] = field(default_factory=count)
    made: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    has_ended: threading.Event = field(default_factory=threading.Event)
    surprises: list[Exception] = field(default_factory=list)

    def work(self) -> None:
        """Make keys, and delete every second one, or each once there are many."""
        try:
            while not self.has_ended.is_set():
                self._order(next(self.numbers))
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.surprises.append(error)

    def _order(self, number: int) -> None:
        client, name = self.deployment.client, f"order-{time.monotonic_ns()}-{number}"
        key = self._until_answered(lambda: client.keys.create(name, idempotency_key=name))
        self.made[name] = key.id
        if number % 2 or len(self.made) - len(self.deleted) > MOST_KEPT:
            with suppress(NotFound):  # deleted, and the answer was lost
                self._until_answered(lambda: client.keys.delete(key.id))
            self.deleted.add(key.id)

    @staticmethod
    def _until_answered(ask: Callable[[], T]) -> T:
        ends_at = time.monotonic() + 120
        while True:
            try:
                return ask()
            except NotFound:
                raise
            except ApiError:
                if time.monotonic() > ends_at:
                    raise
            time.sleep(0.1)


def lose_nothing(
    deployment: Deployment, deaths: int, every_s: float = 0.0, others: frozenset[str] = frozenset()
) -> None:
    """Make and delete keys while the control planes die in turn; then compare all that was said with all that is.

    `others` are keys that were there before.
    """
    orders = Orders(deployment)
    workers = [threading.Thread(target=orders.work, daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for number in range(deaths):
        before, began = len(orders.made), time.monotonic()
        plane = deployment.planes[number % 2]
        plane.kill()
        assert wait_until(lambda before=before: len(orders.made) > before + 2), orders.surprises  # type: ignore[misc]
        plane.start()
        orders.has_ended.wait(max(0.0, began + every_s - time.monotonic()))
    orders.has_ended.set()
    for worker in workers:
        worker.join(150)
    assert orders.surprises == []
    left = {*orders.made.values()} - orders.deleted | others
    assert len({*orders.made.values()}) == len(orders.made), "each order has a key of its own"
    for plane in deployment.planes:
        plane.reconnect()
        assert {one["id"] for one in plane.client.get("/api/keys").json()} == left
    assert wait_until(lambda: deployment.placed() == left)
    _require_told(deployment, "key.created", {*orders.made.values()})
    _require_told(deployment, "key.deleted", orders.deleted)


def _require_told(deployment: Deployment, kind: str, ids: set[str]) -> None:
    """Every one of these keys was told of, by one event each, however often that came."""

    def told() -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for request in list(deployment.receiver.requests):
            if request.event == kind:
                found[str(request.json["data"]["id"])].add(str(request.json["id"]))
        return found

    assert wait_until(lambda: told().keys() >= ids), ids - told().keys()
    assert {len(events) for events in told().values()} <= {1}
