"""What one change of a key costs, counted and not timed: the same however many keys there are.

With a database and a config.json on this disk, and a real Xray.
"""

import itertools
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Self

import pytest
from sqlalchemy import Connection, event
from tests.contract.test_node import real_world
from tests.support.ports import release_range, reserve_range
from tests.unit.test_link import KEY

from vpnkeys.api.listing import parse_query
from vpnkeys.api.rendered import RenderedKeys
from vpnkeys.clock import SystemClock
from vpnkeys.domain.change import KeyChanges
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key
from vpnkeys.domain.making import Draft, Supply, made
from vpnkeys.domain.plan import Plan
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.keys import ports_for
from vpnkeys.service.limits.usage import UsageBoard
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.xray.rpc.channel import Channel

pytestmark = pytest.mark.e2e

FEW, MANY = 10, 1_000
FIRST = parse_query(None, None, None, f"{FEW}")
INTENT = ("INSERT intents", "SELECT keys")
"""An intent reserves what a key will have; the question is whether another key has it."""
SUPPLY = Supply((KEY.sni,), {KEY.sni})


@dataclass
class Turns:
    """What changes have waited for: transactions that write, others, syncs of files, calls of Xray, statements."""

    writes: list[str] = field(default_factory=list)
    reads: int = 0
    syncs: int = 0
    calls: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)

    def begun(self, connection: Connection) -> None:
        """One more transaction."""
        options = connection.get_execution_options()
        if options.get("writes", False):
            self.writes.append("durable" if options.get("durable", True) else "not durable")
        else:
            self.reads += 1

    def executed(self, _connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        """One more statement: what it does to which table."""
        verb, *words = statement.split()
        if verb != "BEGIN":
            table = words[words.index("INTO" if verb == "INSERT" else "FROM") + 1]
            self.statements.append(f"{verb} {table}")


class Instructions:
    """Counts the interpreter's instructions, of our code and of libraries, in this thread and those begun meanwhile."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, frame: FrameType, what: str, _argument: object) -> Self:
        """Take an event of the interpreter."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if what == "opcode":
            next(self._numbers)  # a call of C, so that no thread loses another's
        return self

    def __enter__(self) -> Self:
        """Count from now on."""
        threading.settrace(self)
        sys.settrace(self)
        return self

    def __exit__(self, *_error: object) -> None:
        """Count no more."""
        sys.settrace(None)
        threading.settrace(None)

    def of(self, work: Callable[[], object]) -> int:
        """Return how many a piece of work takes."""
        before = next(self._numbers)
        work()
        return next(self._numbers) - before


@dataclass
class Server:
    """A server with keys, of which Xray has those that were made here."""

    changer: KeyChanger
    pool: PortRange
    turns: Turns
    shown: RenderedKeys

    def create(self) -> Key:
        """A new key, on the lowest free port."""
        (key,) = self.changer.change(
            lambda seen: made(seen, [Draft("new")], ports_for(self.pool, seen, [None]), SUPPLY)
        ).insert
        return key

    def delete(self, key: Key) -> None:
        """And away."""
        self.changer.change(lambda seen: KeyChanges(delete=(seen.id_to_stop(key.uuid),)))

    def taken(self) -> Turns:
        """What changes have waited for since the last question."""
        turns = replace(self.turns)
        self.turns.writes, self.turns.reads, self.turns.syncs = [], 0, 0
        self.turns.calls, self.turns.statements = [], []
        return turns


@contextmanager
def server_with(count: int, directory: Path) -> Iterator[Server]:
    """A server with so many keys."""
    directory.mkdir()
    engine, ports, turns = open_engine(f"sqlite:///{directory / 'vpnkeys.db'}"), reserve_range(2), Turns()
    migrate(engine)
    with (
        socket.create_server(("127.0.0.1", 0)) as target,
        closing(SqlStore(engine)) as store,
        real_world(directory, ports, "") as world,
    ):
        with store.write() as transaction:
            for n in range(1, count + 1):
                key = replace(KEY, id=f"{n}", uuid=f"{n}", port=ports[0] - n, short_id=f"{n:016x}")
                transaction.insert(replace(key, created_at=KEY.created_at + timedelta(seconds=n)))
        host, port = target.getsockname()
        site = ServerIdentity("127.0.0.1", "A" * 43, str(directory), (KEY.sni,), f"{host}:{port}")
        world.node.apply(Plan(file=()))
        world.start()
        changer = KeyChanger(Reconciler(store, world.node, world.host, site), SystemClock())
        event.listen(engine, "begin", turns.begun)
        event.listen(engine, "before_cursor_execute", turns.executed)
        shown = RenderedKeys(store.keys, UsageBoard(store.used_bytes, SystemClock()))
        yield Server(changer, PortRange(ports[0] - count, ports[-1]), turns, shown)
    release_range(ports)


def instructions(count: int, directory: Path) -> tuple[int, ...]:
    """How many a creation takes with so many keys, then showing the new one and a page, a deletion, and another one."""
    keys: list[Key] = []
    with server_with(count, directory) as server, Instructions() as counter:
        server.delete(server.create())  # begins the node's thread, and writes all of config.json
        server.shown.page(FIRST)
        turns = (
            lambda: keys.append(server.create()),
            lambda: server.shown.one(keys[0].id),
            lambda: server.shown.page(FIRST),
            lambda: server.delete(keys[0]),
            lambda: server.shown.one("1"),
        )
        return tuple(map(counter.of, turns))


def test_no_instruction_for_each_key(tmp_path: Path) -> None:
    """A change with a hundred times as many keys, and a read after it, take less than one more for each of them."""
    few, many = (instructions(count, tmp_path / f"{count}") for count in (FEW, MANY))
    assert [more - less < MANY - FEW for less, more in zip(few, many, strict=True)] == [True] * 5, (few, many)


def test_a_change_waits_for_no_more_than_it_owes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A creation for an intent, which the disk may lose, for Xray, config.json and the key; a deletion for one less.

    The first statement of the creation is what the deletion before it has left: its stop, which it has answered.
    """
    sync, call = os.fsync, Channel.call

    def counted_sync(descriptor: int) -> None:
        server.turns.syncs += 1
        sync(descriptor)

    def counted_call(channel: Channel, path: str, request: bytes, timeout_s: float) -> bytes:
        server.turns.calls.append(path.rpartition("/")[2])
        return call(channel, path, request, timeout_s)

    with server_with(FEW, tmp_path / "few") as server:
        server.delete(server.create())  # the first change writes all of config.json, which Xray tests
        server.taken()
        monkeypatch.setattr(os, "fsync", counted_sync)
        monkeypatch.setattr(Channel, "call", counted_call)
        key = server.create()
        statements = ["DELETE stops", *INTENT, "DELETE intents", "INSERT keys", "INSERT audit"]
        assert server.taken() == Turns(["not durable", "durable"], 0, 2, ["AddInbound"], statements)
        server.delete(key)
        assert server.taken() == Turns(
            ["durable"], 0, 2, ["RemoveInbound"], ["DELETE keys", "INSERT stops", "INSERT audit"]
        )
