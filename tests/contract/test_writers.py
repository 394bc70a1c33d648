"""Writers of one database file get their turns in order, in threads and processes, whatever dies among them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from tests.support.greedy import Turn, most_overtaken, turns_of
from tests.support.process import wait_until

from vpnkeys.domain.change import KeptAnswer
from vpnkeys.store.sql import writers as queue
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.writers import Writers

TURNS_EACH = 20
NOON = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty database in a directory of its own."""
    url = f"sqlite:///{tmp_path / 'vpnkeys.db'}"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store on it."""
    with closing(SqlStore(open_engine(url))) as store:
        yield store


@pytest.mark.parametrize("writers", [8, 32])
def test_no_writer_starves(url: str, writers: int) -> None:
    """In three processes, all greedy: each gets all its turns, and none has many of them while another waits for one.

    In order none has even two. The others are for a thread that the machine stops between its asking and its taking a
    place; SQLite's lock by itself lets a writer have all of its turns meanwhile.
    """
    turns = turns_of(writers, url, TURNS_EACH)
    assert len(turns) == writers * TURNS_EACH
    assert most_overtaken(turns) < TURNS_EACH / 4, max(turns, key=lambda turn: turn.waited_s)


def test_overtaking_is_counted() -> None:
    """Two turns of B are had while A waits; the third was asked for before."""
    early = Turn("B", 1, 6)
    assert most_overtaken([Turn("A", 2, 9), Turn("B", 3, 7), Turn("B", 4, 8), early]) == 2
    assert most_overtaken([Turn("A", 2, 9), early]) == 0


def test_the_dead_hold_nobody_up(url: str, store: SqlStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is killed in its turn, and one that is killed while it waits, leave their places to those behind."""
    monkeypatch.setattr(queue, "STALLED_AFTER_S", 3600)
    with ThreadPoolExecutor(1) as pool, _other(url) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"writes\n"
        with _other(url) as waiter:
            assert wait_until(lambda: _places(tmp_path) == 2, 30)
            third: Future[None] = pool.submit(_write, store, "third")
            assert wait_until(lambda: _places(tmp_path) == 3, 30)
            waiter.kill()
            waiter.wait()
            assert _places(tmp_path) == 2
            assert not third.done()
            holder.kill()
            third.result(30)
    assert _places(tmp_path) == 0
    assert store.answered("third", NOON) is not None
    assert store.answered("other", NOON) is None


def test_a_stopped_waiter_holds_the_others_up_for_a_time(
    url: str, store: SqlStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process in the queue that somebody has stopped costs the others their patience, and not their writes."""
    monkeypatch.setattr(queue, "STALLED_AFTER_S", 0.1)
    with ThreadPoolExecutor(1) as pool, _other(url) as waiter:
        with store.write():
            assert wait_until(lambda: _places(tmp_path) == 2, 30)
            waiter.send_signal(signal.SIGSTOP)
            behind = pool.submit(_write, store, "behind")
            assert wait_until(lambda: _places(tmp_path) == 3, 30)
        behind.result(30)
        assert _places(tmp_path) == 1


def test_those_who_pass_a_stopped_one_keep_their_order(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that is stopped in its turn is passed by one after the other, and not by all at once."""
    monkeypatch.setattr(queue, "STALLED_AFTER_S", 3)
    inside: list[int] = []

    def take_turn(number: int) -> list[int]:
        with Writers(str(tmp_path)).turn():
            inside.append(number)
            time.sleep(0.2)
            here = list(inside)
            inside.remove(number)
        return here

    with ThreadPoolExecutor(4) as pool, _other(url) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"writes\n"
        holder.send_signal(signal.SIGSTOP)
        turns = []
        for number in range(4):
            turns.append(pool.submit(take_turn, number))
            assert wait_until(lambda: _places(tmp_path) == len(turns) + 1, 30)
        assert [turn.result(30) for turn in turns] == [[0], [1], [2], [3]]


def test_it_leaves_no_file(store: SqlStore, tmp_path: Path) -> None:
    """The queue is in the kernel alone: whoever writes first, root or the service, nothing is left to own."""
    _write(store, "one")
    assert {path.name for path in tmp_path.iterdir()} == {"vpnkeys.db", "vpnkeys.db-wal", "vpnkeys.db-shm"}


def test_without_a_place_there_is_a_turn(tmp_path: Path) -> None:
    """A directory that cannot be opened, and a database that is no file, have no order and no error."""
    for writers in (Writers(str(tmp_path / "none")), Writers.of(create_engine("sqlite://"))):
        with writers.turn(), writers.turn():
            assert _places(tmp_path) == 0


def _write(store: SqlStore, name: str) -> None:
    with store.write() as transaction:
        transaction.remember(KeptAnswer(name, "", "", NOON))


def _places(directory: Path) -> int:
    """How many are in the queue."""
    inode = directory.stat().st_ino
    return sum(f":{inode} " in line for line in Path("/proc/locks").read_text(encoding="ascii").splitlines())


@contextmanager
def _other(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that takes a turn, says so, and stays in it until the block ends."""
    with subprocess.Popen([sys.executable, "-c", _STAY, url], stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


_STAY = """
import datetime, sys, time
from vpnkeys.domain.change import KeptAnswer
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore

with SqlStore(open_engine(sys.argv[1])).write() as transaction:
    transaction.remember(KeptAnswer("other", "", "", datetime.datetime(2025, 8, 5, 12)))
    print("writes", flush=True)
    time.sleep(60)
"""
