"""What processes do at the same moment with one database of PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import create_engine, make_url

from tests.contract.test_store import NOON, key
from tests.fakes import FakeNode
from tests.support.memory import SITE
from vpnkeys.clock import SystemClock
from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.making import Draft
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.keys import KeyService
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.store import SqlStore

ROUNDS = 300
_TOGETHER_EVERY = 50
_PATIENCE_S = 400.0


def at_once(work: Any, *arguments: tuple[Any, ...]) -> list[Any]:  # noqa: ANN401 - whatever the work returns
    """The results of this work in a process for each of the arguments, all begun at the same moment."""
    spawned = multiprocessing.get_context("spawn")
    with spawned.Manager() as manager, spawned.Pool(len(arguments)) as pool:
        barrier = manager.Barrier(len(arguments))
        calls = [(work, barrier, *one) for one in arguments]
        return pool.starmap_async(_together, calls, chunksize=1).get(_PATIENCE_S)


def _together(work: Any, barrier: threading.Barrier, *arguments: Any) -> Any:  # noqa: ANN401 - as above
    """Do the work; where it fails, nobody waits for it any longer."""
    try:
        return work(barrier, *arguments)
    except BaseException:
        barrier.abort()
        raise


def _rounds(barrier: threading.Barrier) -> Iterable[Samples]:
    """Samples that grow; every now and then the processes wait for each other, in between they drift apart."""
    for number in range(1, ROUNDS + 1):
        if number % _TOGETHER_EVERY == 1:
            barrier.wait(_PATIENCE_S)
        yield Samples("life", {key(at).uuid: Bytes(number * 10, number * 100) for at in range(1, 4)})


def merge_in_turn(barrier: threading.Barrier, url: str) -> int:
    """Merge as a server does; how often."""
    store = SqlStore(open_engine(url))
    for samples in _rounds(barrier):
        with store.write() as transaction:
            transaction.ledger.merge(samples, NOON)
    store.close()
    return ROUNDS


def merge_without_turns(barrier: threading.Barrier, url: str) -> int:
    """Merge as a program would that keeps no order among writers; how often."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    for samples in _rounds(barrier):
        with engine.begin() as connection:
            SqlLedger(connection).merge(samples, NOON)
    engine.dispose()
    return ROUNDS


def upsert(barrier: threading.Barrier, url: str, seed: int, for_s: float) -> int:
    """Merge samples of some of fifty keys in an order of its own, without turns; how often."""
    engine, chance = create_engine(make_url(url).set(drivername="postgresql+psycopg")), random.Random(seed)  # noqa: S311
    barrier.wait(_PATIENCE_S)
    ends_at, number = time.monotonic() + for_s, 0
    while time.monotonic() < ends_at:
        number += 1
        some = chance.sample(range(1, 51), 30)
        with engine.begin() as connection:
            usage = {key(at).uuid: Bytes(number * 10 + seed, number) for at in some}
            SqlLedger(connection).merge(Samples("life", usage), NOON)
    engine.dispose()
    return number


class _Patient(KeyChanger):
    """How long a change waits for another server's is for the tests of requests: here both share a busy machine."""

    def change(self, decide: Callable[[Snapshot], KeyChanges], *, patience_s: float = 60.0) -> KeyChanges:
        """The same, with more patience."""
        return super().change(decide, patience_s=patience_s)


def make_keys(barrier: threading.Barrier, url: str, times: int) -> list[str]:
    """Make keys with the same Idempotency-Keys as another process does; their ids."""
    node = FakeNode(names=frozenset(SITE.server_names))
    reconciler = Reconciler(SqlStore(open_engine(url), f"server {os.getpid()}"), node, node, SITE)
    node.apply(reconciler.compare()[1])
    node.start_xray()
    keys = KeyService(_Patient(reconciler, SystemClock()), PortRange(10001, 10400))
    made = []
    for number in range(times):
        draft = Draft(name=f"name {number}")
        barrier.wait(_PATIENCE_S)
        made.append(keys.create(draft, Repeat.of("first", f"order {number}", draft)).id)
    reconciler.store.close()
    return made
