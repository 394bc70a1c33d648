"""The road of every change: stops hold from their commit on, starts are all or nothing, whatever the node does."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import Crash
from tests.strategies import key_lists
from tests.support.memory import World

from vpnkeys.domain.actor import Actor, acting
from vpnkeys.domain.audit import Outcome
from vpnkeys.domain.change import KeyChanges, split
from vpnkeys.domain.errors import (
    AlreadyTaken,
    InvalidChoice,
    KeyNotFound,
    KeysChangedMeanwhile,
    NotWritten,
    PortsExhausted,
    StopPending,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.making import Choices, Draft
from vpnkeys.service.change.late_calls import QUIET_S, LateCalls

ANN = Actor("Ann", "192.0.2.1", "request-1")


class Server(World):
    """A server whose Xray has answered for long enough."""

    seconds = 0.0

    def __post_init__(self) -> None:
        """Start it."""
        World.__post_init__(self)
        self.keys.reconciler.late_calls = LateCalls(lambda: self.seconds)
        self.be_quiet()

    def be_quiet(self) -> None:
        """Xray answers, does all that it was asked for, and then nothing for long enough."""
        self.node.answers = True
        self.node.make_late_changes()
        self.keys.reconciler.reconcile()
        self.seconds += QUIET_S
        self.keys.reconciler.reconcile()

    def hang(self, *, is_late: bool = False) -> None:
        """Xray does not answer, and does what it is asked for later or never."""
        self.node.answers, self.node.is_late = False, is_late

    def switch(self, key: Key, *, on: bool) -> Key:
        """Let a key work, or not."""
        return self.keys.change(key.id, lambda key: Draft(key.name, is_active=on))

    def lets_in(self, key: Key) -> bool:
        """Whether a customer gets in."""
        return self.node.connect(key) is not None


@pytest.fixture
def server() -> Server:
    """Without keys."""
    return Server()


@pytest.mark.parametrize("is_late", [False, True])
def test_a_delete_is_written_and_pending_until_it_is_true(server: Server, is_late: bool) -> None:
    """503 as often as asked, then 200 once, then 404; the connection is cut although Xray closed the door by itself."""
    key, other = server.make(), server.make()
    inside, beside = server.customer(key), server.customer(other)
    server.hang(is_late=is_late)
    for _ in range(2):
        with pytest.raises(StopPending):
            server.keys.delete(key.id)
        assert server.keys.list() == (other,)
    assert server.make_fails(XrayUnavailable) == ()
    server.be_quiet()
    assert (inside.is_open, beside.is_open) == (False, True)
    assert not server.lets_in(key)
    assert server.keys.delete(key.uuid) == (key.id,)
    with pytest.raises(KeyNotFound):
        server.keys.delete(key.id)


def test_several_are_asked_for_again_together(server: Server) -> None:
    """Also those that had nothing to stop: whoever asks again asks for all of them."""
    working, off = server.make(), server.make()
    server.switch(off, on=False)
    server.hang()
    for _ in range(2):
        with pytest.raises(StopPending):
            server.keys.delete(working.id, off.id)
    server.be_quiet()
    assert server.keys.delete(working.id, off.id) == (working.id, off.id)
    for key in (working, off):
        with pytest.raises(KeyNotFound):
            server.keys.delete(key.id)


def test_what_was_stopped_is_known_to_the_next_life(server: Server) -> None:
    """The service is killed while Xray hangs: asked again, the next one knows."""
    key = server.make()
    server.hang()
    with pytest.raises(StopPending):
        server.keys.delete(key.id)
    again = Server(store=server.store, clock=server.clock)
    assert again.keys.delete(key.id) == (key.id,)
    with pytest.raises(KeyNotFound):
        again.keys.delete(key.id)


def test_a_late_start_brings_no_deleted_key_back(server: Server) -> None:
    """Xray answers again, and carries an old call out a moment later: until that is over, nothing is called true."""
    key = server.make()
    server.switch(key, on=False)
    server.hang(is_late=True)
    with pytest.raises(XrayUnavailable):
        server.switch(key, on=True)
    assert server.status(key) is Status.DISABLED
    server.node.answers = True
    with pytest.raises(StopPending):
        server.keys.delete(key.id)
    server.node.make_late_changes()
    assert server.lets_in(key), "which is why"
    server.be_quiet()
    assert server.keys.delete(key.id) == (key.id,)
    assert not server.lets_in(key)


def test_a_late_stop_is_undone_for_a_key_that_works_again(server: Server) -> None:
    """Switched off in vain, then on: what Xray does later is repaired by the looks that follow."""
    key = server.make()
    server.hang(is_late=True)
    with pytest.raises(StopPending):
        server.switch(key, on=False)
    server.node.answers = True
    assert server.switch(key, on=True).status is Status.ACTIVE
    server.keys.reconciler.reconcile()
    server.node.make_late_changes()
    assert not server.lets_in(key), "which is why"
    assert server.keys.reconciler.late_calls.look_again_in() is not None
    server.keys.reconciler.reconcile()
    assert server.lets_in(key)


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "hangs and is late"])
def test_a_start_that_fails_leaves_nothing(server: Server, trouble: str) -> None:
    """No key, no inbound, no intent; the log says who tried; its port is free when nothing can come late any more."""
    if trouble == "refuses":
        server.node.refuses_all = True
    else:
        server.hang(is_late="late" in trouble)
    with acting(ANN), pytest.raises((XrayUnavailable, XrayRefused)):
        server.keys.create(Draft("in vain"))
    assert (server.keys.list(), server.store.intents()) == ((), ())
    (record,) = server.store.audit(1)
    assert (record.entry.action, record.outcome, record.actor) == ("key.created", Outcome.TAKEN_BACK, ANN)
    server.node.refuses_all = False
    assert server.keys.changer.snapshot().taken_ports == {10001}
    server.be_quiet()
    assert not [tag for tag in server.node.running or {} if tag.startswith("key-")]
    assert server.make().port == 10001


@pytest.mark.parametrize("steps", range(8))
def test_a_start_that_the_service_dies_over_is_taken_back_or_there(server: Server, steps: int) -> None:
    """Between any two steps: the next life has a whole key or none, and no intent."""
    server.node.steps = server.store.steps
    server.store.steps.left = steps
    with suppress(Crash):
        server.make()
    server.store.steps.left = None
    again = Server(store=server.store, clock=server.clock, node=server.node)
    assert again.store.intents() == ()
    running = {tag for tag in again.node.running or {} if tag.startswith("key-")}
    assert running == {key.tag for key in again.keys.list()}
    assert len(again.keys.list()) == (steps >= 5)


@pytest.mark.parametrize("is_late", [False, True], ids=["never", "late"])
def test_ports_of_failed_starts_come_back(server: Server, is_late: bool) -> None:
    """While Xray hangs each try reserves some, and the answer stays 503: nobody has to delete a key for that."""
    server.hang(is_late=is_late)
    for _ in range(3):
        with pytest.raises(XrayUnavailable):
            server.keys.create_many([Draft("one"), Draft("two")])
    assert server.keys.list() == ()
    server.be_quiet()
    keys = [server.make() for _ in server.keys.pool.ports]
    assert [key.port for key in keys] == [*server.keys.pool.ports]
    assert server.make_fails(PortsExhausted) == ()
    server.hang()
    assert server.make_fails(PortsExhausted) == ()


def test_a_full_disk_keeps_nobody_from_being_stopped(server: Server) -> None:
    """Neither database nor file takes it: the customer is out at once; what is missing is written when it can be."""
    key, other = server.make(), server.make(Limits(expires_at=server.clock.now().replace(hour=14)))
    inside, beside = server.customer(key), server.customer(other)
    server.store.memory.is_full = True
    server.node.writable = False
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    assert (inside.is_open, beside.is_open, server.lets_in(key)) == (False, True, False)
    assert server.keys.list() == (other,)
    server.clock.advance(hours=3)
    server.look()
    assert (beside.is_open, server.status(other)) == (False, Status.EXPIRED)
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    server.store.memory.is_full = False
    server.node.writable = True
    server.keys.reconciler.reconcile()
    assert [(one.id, one.status) for one in server.store.keys()] == [(other.id, Status.EXPIRED)]  # noqa: SIM118 - not a dict
    server.be_quiet()
    assert server.keys.delete(key.id) == (key.id,)
    with pytest.raises(KeyNotFound):
        server.keys.delete(key.id)


def test_a_file_that_cannot_be_written_keeps_nobody_from_being_stopped(server: Server) -> None:
    """The database has it: also after a restart of the service it stays so."""
    key = server.make()
    inside = server.customer(key)
    server.node.writable = False
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    assert (inside.is_open, server.lets_in(key), server.store.keys()) == (False, False, ())


def test_a_decision_on_what_has_changed_meanwhile_is_refused(server: Server) -> None:
    """Another process wrote between the look and the commit: nothing is done on what is no longer so."""
    key = server.make()

    def decide(_seen: object) -> KeyChanges:
        with server.store.write() as transaction:
            transaction.delete(key.id)
        return KeyChanges(delete=(key.id,))

    with pytest.raises(KeysChangedMeanwhile):
        server.keys.changer.change(decide)
    assert server.store.stops() == ()


alterations: st.SearchStrategy[Callable[[Key], Key]] = st.sampled_from(
    [
        lambda key: key,
        lambda key: replace(key, is_active=not key.is_active),
        lambda key: replace(key, limit_status=Status.EXPIRED),
        lambda key: replace(key, name="other"),
        lambda key: replace(key, port=key.port % 65535 + 1),
    ]
)


@given(key_lists(), st.data())
def test_first_and_last_make_the_whole(keys: list[Key], data: Any) -> None:  # noqa: ANN401 - draws of several types
    """Nothing is lost or done twice; `first` starts nothing, and `last` stops nothing."""
    before, rest = tuple(sorted(keys, key=lambda key: (key.created_at, key.id))), list(keys)
    insert = (rest.pop(),) if rest and data.draw(st.booleans()) else ()
    before = tuple(key for key in before if key not in insert)
    delete = tuple(key.id for key in rest if data.draw(st.booleans()))
    update = tuple(data.draw(alterations)(key) for key in rest if key.id not in delete)
    changes = KeyChanges(insert, update, delete)
    first, last = split({key.id: key for key in before}, changes)
    stopped = first.applied_to(before)
    after = last.applied_to(stopped)
    assert after == changes.applied_to(before)
    if last:
        assert {key.id for key in stopped if key.serves} <= {key.id for key in before if key.serves}
    assert {key.id for key in stopped if key.serves} <= {key.id for key in after if key.serves}


def test_a_child_has_no_calls_of_an_earlier_service() -> None:
    """It ends with the service that started it; somebody else's Xray may still have them in its queue."""
    for is_child in (True, False):
        late_calls = LateCalls(lambda: 100.0, is_child=is_child)
        late_calls.timed_out()  # while it was just starting
        late_calls.heard("one", as_expected=False)
        assert late_calls.are_over() is is_child
        late_calls.timed_out()
        late_calls.heard("one", as_expected=True)
        assert not late_calls.are_over()
        late_calls.heard("two", as_expected=True)
        assert late_calls.are_over()


def test_one_key_moves_on_request_and_no_other(server: Server) -> None:
    """To a port that was chosen, or for 0 to the lowest free one; one that is taken or out of range is refused."""
    key, other = server.make(), server.make()
    free = other.port + 1

    def move(port: int | None) -> Key:
        return server.keys.change(key.id, lambda was: Draft(was.name, choices=Choices(port=port)))

    for port, error in ((other.port, AlreadyTaken), (1, InvalidChoice)):
        with pytest.raises(error):
            move(port)
    assert (move(None).port, move(key.port).port) == (key.port, key.port)
    inside = server.customer(key)
    moved = move(0)
    assert (moved.port, moved.port_assigned_at) == (free, server.clock.now())
    assert (inside.is_open, server.lets_in(key)) == (False, False)
    assert (server.lets_in(moved), server.lets_in(other)) == (True, True)
    assert move(key.port).port == key.port
