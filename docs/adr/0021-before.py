"""Print what the store lost on PostgreSQL before it kept its promises there: see the evidence of ADR 21.

git worktree add --detach ../before f3fb31f && cd ../before
PYTHONPATH=src:. python ../vpnkeys/docs/adr/0021-before.py postgresql://…  # an empty database
"""
# ruff: noqa: INP001, SLF001, T201 - run by hand, in a tree of that commit

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from statistics import median

from sqlalchemy import insert, text
from tests.contract.test_store import NOON, add, key
from vpnkeys.store.engine import open_engine
from vpnkeys.store.migrate import migrate
from vpnkeys.store.rows import to_row
from vpnkeys.store.tables import keys

from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql import SqlStore

ROUNDS, KEYS, LOCKED_S = 300, 10_000, 10
URL = sys.argv[1].replace("postgresql://", "postgresql+psycopg://")
BARRIER = threading.Barrier(2)


def at_once(work: Callable[..., None], *arguments: tuple[object, ...]) -> None:
    """Do the work in a thread for each of the arguments."""
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def update(store: SqlStore) -> None:
    """Read and write, fifty times."""
    for _ in range(50):
        with store.write() as transaction:
            (only,) = transaction.keys()
            transaction.update(replace(only, port=only.port + 1))


def merge(store: SqlStore, samples: Samples) -> None:
    """Merge a sample at the same moment as another one."""
    BARRIER.wait()
    with store.write() as transaction:
        transaction.ledger.merge(samples, NOON)


migrate(open_engine(URL))
one, other = SqlStore(open_engine(URL)), SqlStore(open_engine(URL))
add(one, key(0, port=1))
at_once(update, *[(one,), (other,)] * 4)
print("updates kept, of 401:", one.keys()[0].port)

uuid, too_much, counted = key(0).uuid, 0, 2
with one.write() as first:
    first.ledger.merge(Samples("life", {uuid: Bytes(1, 1)}), NOON)
for number in range(1, ROUNDS + 1):
    sample = Samples("life", {uuid: Bytes(number * 10, number * 100)})
    at_once(merge, (one, sample), (other, sample))
    now = sum(point.usage.total for point in one.history(uuid, NOON, NOON + timedelta(hours=1)))
    too_much += now - counted > (110 if number > 1 else 108)
    counted = now
print(f"rounds in which the history got too much, of {ROUNDS}:", too_much)

with one._engine.begin() as connection:
    connection.execute(insert(keys), [to_row(key(number)) for number in range(1, KEYS)])
times = []
for _ in range(20):
    began = time.perf_counter()
    one.keys()
    times.append((time.perf_counter() - began) * 1e3)
print(f"a read of {KEYS:,} keys, p50: {median(times):.0f} ms")

with other._engine.connect() as holder, holder.begin():
    holder.execute(text("LOCK TABLE keys"))
    threading.Timer(LOCKED_S, holder.rollback).start()
    began = time.perf_counter()
    one.keys()
    print(f"a read while the table was locked for {LOCKED_S} s: {time.perf_counter() - began:.1f} s")
