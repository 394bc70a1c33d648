"""A database on another machine that is silent for a while: stops strike, limits go on, and no start is half made."""

import asyncio
import threading
import time

import pytest
from starlette.types import Receive, Scope, Send
from tests.support.slowness import slowness
from tests.unit.test_change import Server

from vpnkeys.api.fresh import FreshReads
from vpnkeys.domain.errors import CommitUnknown, NotWritten, StoreUnavailable
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.making import Draft
from vpnkeys.service.health.bounded import Bounded
from vpnkeys.service.idempotency import Repeat


@pytest.fixture
def server() -> Server:
    """A server without keys, whose database is elsewhere."""
    server = Server()
    server.store.is_remote = True
    return server


def test_a_key_is_deleted_in_xray_while_the_database_is_silent(server: Server) -> None:
    """It stops at once, the answer says what is missing, and the row goes when the database is back."""
    key, other = server.make(), server.make()
    server.store.memory.answering = False
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    assert (server.lets_in(key), server.lets_in(other)) == (False, True)
    with pytest.raises(StoreUnavailable):
        server.make()
    server.store.memory.answering = True
    server.keys.reconciler.reconcile()
    assert server.store.keys() == (other,)


def test_a_date_strikes_while_the_database_is_silent(server: Server) -> None:
    """By the keys that were known."""
    key = server.make(Limits(expires_at=server.clock.now().replace(hour=13)))
    server.store.memory.answering = False
    server.clock.advance(hours=2)
    server.look()
    assert not server.lets_in(key)
    server.store.memory.answering = True
    server.keys.reconciler.reconcile()
    assert [one.limit_status for one in server.store.keys()] == [Status.EXPIRED]  # noqa: SIM118 - not a dict


def test_traffic_strikes_while_the_database_is_silent(server: Server) -> None:
    """What was used before is known, and what Xray counts meanwhile is added to it, once."""
    key = server.make(Limits(traffic_bytes=100))
    inside = server.customer(key)
    server.node.carry(inside, 30, 30)
    server.clock.advance(seconds=20)
    server.look()
    server.store.memory.answering = False
    server.node.carry(inside, 19, 20)
    server.clock.advance(seconds=20)
    server.look()
    assert server.lets_in(key)
    server.node.carry(inside, 1, 0)
    server.clock.advance(seconds=20)
    server.look()
    assert not server.lets_in(key)
    server.store.memory.answering = True
    server.keys.reconciler.reconcile()
    server.enforcer.traffic.collect()
    assert server.store.traffic(key.uuid).total_bytes == 100


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_start_whose_commit_is_lost_is_taken_back(server: Server, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Whether it was stored or not: nothing is left of it, and the same request makes a key."""
    draft = Draft("x")
    repeat = Repeat.of("first", "order 1", draft)
    write = server.store.write
    writes = 0

    def counted(*, durable: bool = True, patience_s: float = 5.0) -> object:
        nonlocal writes
        writes += 1
        server.store.loses_commit = when if writes == 2 else ""  # the first stores the intent
        return write(durable=durable, patience_s=patience_s)

    monkeypatch.setattr(type(server.store), "write", lambda _store, **more: counted(**more))
    with pytest.raises(CommitUnknown):
        server.keys.create(draft, repeat)
    assert server.keys.list() == ()
    made = server.keys.create(draft, repeat)
    server.keys.reconciler.reconcile()
    assert server.store.keys() == (made,)
    assert server.keys.create(draft, repeat) == made
    assert server.lets_in(made)
    assert [one for one in server.node.running or {} if one.startswith("key-")] == [f"key-{made.id}"]


def test_health_waits_for_no_answer_of_a_database() -> None:
    """A question that hangs is not asked again, and its answer counts when it comes."""
    release, asked = threading.Event(), []

    def ask() -> int:
        asked.append(1)
        release.wait(60)
        return len(asked)

    question = Bounded(ask, patience_s=0.05)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            question.result()
    assert time.monotonic() - began < 1.0 * slowness()
    release.set()
    patient = Bounded(ask, patience_s=60.0)
    assert patient.result() == 2
    assert len(asked) == 2


def test_a_request_waits_for_a_look_in_a_thread() -> None:
    """Not one for a page or `/health`; a look that fails is the handler's to tell."""
    looked, served = [], []

    def look() -> None:
        looked.append(threading.current_thread() is threading.main_thread())
        raise StoreUnavailable("it is silent")

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        served.append(scope["path"])

    async def ask() -> None:
        fresh = FreshReads(app, look)
        for path in ("/", "/health", "/ui/", "/docs", "/api/", "/api/keys", "/sub/x"):
            await fresh({"type": "http", "path": path}, None, None)  # type: ignore[arg-type] # nobody reads or sends

    asyncio.run(ask())
    assert len(served) == 7
    assert looked == [False, False]
