"""Several faults at once, and requests that are repeated meanwhile: what is answered holds all the same."""

import threading
from collections.abc import Collection
from contextlib import suppress

import pytest
from tests.unit.test_change import Server

from vpnkeys.domain.change import Intent, KeyChanges, Stop
from vpnkeys.domain.errors import (
    ConfigUnwritable,
    KeyNotFound,
    NotWritten,
    PortTaken,
    SpeedLimitImpossible,
    StopPending,
    StoreUnavailable,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.making import Choices, Draft
from vpnkeys.service.change.late_calls import QUIET_S
from vpnkeys.service.report import Reporter
from vpnkeys.service.restarts import Restarts
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.service.system import SystemService

PATIENCE_S = 3.0


@pytest.fixture
def server() -> Server:
    """Return a server without keys."""
    return Server()


def _system_of(server: Server) -> SystemService:
    return SystemService(
        server.keys.changer,
        Reporter(server.keys.reconciler, server.keys.pool),
        server.enforcer.traffic,
        server.keys.pool,
        lambda: None,
        Restarts(),
    )


@pytest.mark.parametrize("is_expiring", [False, True])
def test_a_delete_after_a_pending_stop_is_pending_too(server: Server, is_expiring: bool) -> None:
    """The key is switched off or expires while Xray hangs; its deletion is not answered before it stops."""
    limits = Limits(expires_at=server.clock.now().replace(hour=13) if is_expiring else None)
    key, off = server.make(limits), server.make()
    server.switch(off, on=False)
    inside = server.customer(key)
    server.hang()
    server.clock.advance(hours=2)
    with pytest.raises(StopPending):
        server.look() if is_expiring else server.switch(key, on=False)
    for _ in range(3):
        with pytest.raises(StopPending):
            server.keys.delete(key.id, off.id)
    assert server.keys.changer.snapshot().taken_ports == {key.port}
    server.be_quiet()
    assert server.keys.delete(key.id, off.id) == (key.id, off.id)
    assert (inside.is_open, server.lets_in(key)) == (False, False)
    with pytest.raises(KeyNotFound):
        server.keys.delete(key.id)


def test_a_delete_after_a_late_start_waits_for_it(server: Server) -> None:
    """The deletion of a key whose start timed out is repeated: Xray may still start the key."""
    key = server.make()
    server.switch(key, on=False)
    server.hang(is_late=True)
    with pytest.raises(XrayUnavailable):
        server.switch(key, on=True)
    server.node.answers = True
    for _ in range(2):
        with pytest.raises(StopPending):
            server.keys.delete(key.id)
    server.be_quiet()
    assert server.keys.delete(key.id) == (key.id,)
    assert not server.lets_in(key)


def test_a_key_that_works_again_keeps_working_when_it_is_renamed(server: Server) -> None:
    """Its earlier stop is not confirmed yet, and is not repeated."""
    key = server.make()
    server.hang()
    with pytest.raises(StopPending):
        server.switch(key, on=False)
    server.node.answers = True
    inside = server.customer(server.switch(key, on=True))
    assert server.switch(key, on=True).status is Status.ACTIVE
    assert (inside.is_open, server.lets_in(key)) == (True, True)


def test_a_full_disk_keeps_one_stop_of_a_key(server: Server) -> None:
    """The key is switched off and deleted before the disk has room again; then everything is stored."""
    key, other = server.make(), server.make()
    server.store.memory.is_full, server.node.writable = True, False
    with pytest.raises(NotWritten):
        server.switch(key, on=False)
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    stops = server.keys.reconciler.stops
    assert [stop.key_id for stop in stops.known()[2]] == [key.id]
    confirmed = Stop(key.id, key.uuid, key.port, server.clock.now(), is_confirmed=True)
    stops.keep(KeyChanges(), [confirmed])
    assert [stop.is_confirmed for stop in stops.known()[2]] == [False]
    server.store.memory.is_full, server.node.writable = False, True
    server.be_quiet()
    assert server.store.keys() == (other,)
    assert server.keys.delete(key.id) == (key.id,)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_stop_that_is_not_stored_claims_no_more_than_is_true(server: Server, hangs: bool) -> None:
    """Whether Xray has confirmed it is told, and that nothing was changed is not."""
    key = server.make()
    server.store.memory.is_full = True
    if hangs:
        server.hang()
    with pytest.raises(NotWritten) as told:
        server.keys.delete(key.id)
    assert ("Xray has not confirmed the stop yet" in str(told.value)) == hangs
    assert ("have stopped in the running Xray" in str(told.value)) != hangs
    assert "othing was changed" not in str(told.value)


def test_a_full_disk_keeps_no_repair_from_working(server: Server) -> None:
    """A start is left in the table when the disk gets full: Xray is repaired all the same, and the error is raised."""
    key, other = server.make(), server.make()
    with server.store.write() as transaction:
        transaction.put_intents([Intent("id", "uuid", 10004, "ab", server.clock.now())])
    server.store.memory.is_full = True
    server.hang()
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    server.node.answers = True
    assert server.lets_in(key)
    with pytest.raises(StoreUnavailable):
        server.keys.reconciler.reconcile()
    assert (server.lets_in(key), server.lets_in(other)) == (False, True)
    server.store.memory.is_full = False
    server.be_quiet()
    assert server.store.intents() == ()
    assert server.store.keys() == (other,)


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "ends"])
def test_a_stop_is_stored_as_soon_as_the_disk_has_room(server: Server, trouble: str) -> None:
    """Whether Xray hangs or refuses another key, and also when the server ends before the next repair."""
    key, other = server.make(), server.make()
    server.store.memory.is_full = True
    server.hang()
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    server.keys.reconciler.write_stops()
    assert server.store.keys() == (key, other)
    server.store.memory.is_full = False
    if trouble == "ends":
        server.keys.reconciler.write_stops()
    else:
        server.node.answers, server.node.refuses = trouble == "refuses", {other.tag}
        server.node.running.pop(other.tag)  # type: ignore[union-attr]
        with pytest.raises((XrayUnavailable, XrayRefused)):
            server.keys.reconciler.reconcile()
    assert server.store.keys() == (other,)
    assert [stop.key_id for stop in server.store.stops()] == [key.id]


def test_a_key_that_xray_refuses_keeps_no_stop_pending(server: Server) -> None:
    """Xray refuses one key for good; the stop of another is finished all the same."""
    expired, refused = server.make(Limits(expires_at=server.clock.now().replace(hour=13))), server.make()
    inside = server.customer(expired)
    server.node.refuses = {refused.tag}
    server.node.running.pop(refused.tag)  # type: ignore[union-attr]
    server.hang(is_late=True)
    server.clock.advance(hours=2)
    with pytest.raises(StopPending):
        server.look()
    server.node.answers = True
    server.node.make_late_changes()
    for is_confirmed in (False, True):
        with pytest.raises(XrayRefused):
            server.keys.reconciler.reconcile()
        assert [stop.is_confirmed for stop in server.store.stops()] == [is_confirmed]
        assert not inside.is_open
        server.seconds += QUIET_S


def test_a_key_that_config_json_still_holds_is_not_confirmed_as_stopped(server: Server) -> None:
    """Its connections are cut; the stop is finished when the file is written, or the next Xray would start the key."""
    key = server.make()
    inside = server.customer(key)
    server.node.writable = False
    server.hang(is_late=True)
    with pytest.raises(StopPending):
        server.switch(key, on=False)
    server.node.answers = True
    server.node.make_late_changes()
    for _ in range(3):
        with pytest.raises(ConfigUnwritable):
            server.keys.reconciler.reconcile()
        server.seconds += QUIET_S
    assert (inside.is_open, server.lets_in(key)) == (False, False)
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    server.node.writable = True
    assert server.keys.delete(key.id) == (key.id,)


def test_ports_assigned_again_leave_out_the_port_of_a_pending_stop(server: Server) -> None:
    """Xray may still listen there; a key that got it would lose its connections when the stop is finished."""
    first, stopping, other = server.make(), server.make(), server.make()
    server.keys.delete(first.id)
    server.hang()
    with pytest.raises(StopPending):
        server.switch(stopping, on=False)
    server.node.answers = True
    system = _system_of(server)
    system.reset_ports()
    assert server.keys.get(other.id).port not in {stop.port for stop in server.store.stops()}
    inside = server.customer(server.keys.get(other.id))
    server.keys.reconciler.reconcile()
    with suppress(StopPending):
        server.keys.delete(stopping.id)
    assert inside.is_open


def test_a_pending_stop_cuts_no_key_that_has_its_port(server: Server) -> None:
    """A key may have got the port before the stop was stored; its clients stay connected."""
    stopping, other = server.make(), server.make()
    inside = server.customer(other)
    with server.store.write() as transaction:
        transaction.put_stops([Stop(stopping.id, stopping.uuid, other.port, server.clock.now())])
    server.switch(stopping, on=False)
    server.keys.reconciler.reconcile()
    assert inside.is_open


def test_a_new_xray_may_have_calls_that_timed_out_in_it(server: Server) -> None:
    """Xray starts again, hangs, and is asked to start a key before the service has seen that it is another process."""
    key = server.make()
    server.switch(key, on=False)
    server.node.start_xray()
    server.hang(is_late=True)
    with pytest.raises(XrayUnavailable):
        server.switch(key, on=True)
    server.node.answers = True
    with pytest.raises(StopPending):
        server.keys.delete(key.id)
    server.be_quiet()
    assert server.keys.delete(key.id) == (key.id,)
    assert not server.lets_in(key)


def test_a_new_xray_has_none_of_the_calls_to_the_last_one(server: Server) -> None:
    """A key that was deleted while Xray hung has stopped as soon as a new Xray answers."""
    key = server.make()
    server.hang(is_late=True)
    with pytest.raises(StopPending):
        server.keys.delete(key.id)
    server.node.start_xray()
    server.keys.reconciler.reconcile()
    assert server.keys.delete(key.id) == (key.id,)


def test_a_repair_that_timed_out_starts_no_deleted_key(server: Server) -> None:
    """The repair added the inbound, and Xray may do it after the key was deleted; other keys need not wait."""
    key, other = server.make(), server.make()
    server.node.running.pop(key.tag)  # type: ignore[union-attr]
    _, todo = server.keys.reconciler.compare()
    server.hang(is_late=True)
    with pytest.raises(XrayUnavailable):
        server.keys.reconciler.apply(todo)
    server.node.answers = True
    assert server.keys.delete(other.id) == (other.id,)
    with pytest.raises(StopPending):
        server.keys.delete(key.id)
    assert key.port in server.keys.changer.snapshot().taken_ports
    server.be_quiet()
    assert server.keys.delete(key.id) == (key.id,)
    assert not server.lets_in(key)


def test_a_key_that_xray_refuses_keeps_no_other_from_coming_back(server: Server) -> None:
    """Both expired and may work again; Xray refuses the first one for good."""
    limits = Limits(expires_at=server.clock.now().replace(hour=13))
    refused, other = server.make(limits), server.make(limits)
    server.clock.advance(hours=2)
    server.look()
    server.clock.advance(hours=-2)
    server.node.refuses = {refused.tag}
    with pytest.raises(XrayRefused):
        server.look()
    assert (server.status(refused), server.status(other)) == (Status.EXPIRED, Status.ACTIVE)
    assert server.lets_in(other)
    server.node.refuses = set()
    server.look()
    assert server.lets_in(refused)


def test_no_stop_waits_for_server_names(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart that is asked for while no name works: a key is deleted meanwhile."""
    key = server.make()
    deleting = threading.Thread(target=server.keys.delete, args=[key.id], daemon=True)
    ended: list[bool] = []

    def wait_for_names(_node: object, wait_s: float = 0.0) -> frozenset[str]:
        if wait_s and not ended:
            deleting.start()
            deleting.join(PATIENCE_S)
            ended.append(not deleting.is_alive())
        return frozenset()

    monkeypatch.setattr(type(server.node), "ready_names", wait_for_names)
    _system_of(server).sync_and_restart()
    assert ended == [True]


def test_ports_of_what_is_refused_are_given_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the other servers of the host: those that were claimed for it, and not the key's own."""
    key, given_back = server.make(), list[Collection[int]]()
    monkeypatch.setattr(type(server.node), "release_ports", lambda _, left: given_back.append(left))
    server.node.can_limit_speeds = False
    with pytest.raises(SpeedLimitImpossible):
        server.make(Limits(speed_mbps=5))
    with pytest.raises(SpeedLimitImpossible):
        server.limit(key, Limits(speed_mbps=5))
    assert given_back == [{key.port + 1}, frozenset()]
    given_back.clear()
    monkeypatch.setattr(type(server.node), "claim_ports", lambda _, wanted: frozenset(wanted))
    assert server.make_fails(PortTaken) == ()
    assert set().union(*given_back) == {key.port + 1}


def test_a_port_that_another_server_has_is_told_until_the_key_leaves_it(server: Server) -> None:
    """Not until the next repair, which may be five minutes later."""
    key, taken = server.make(), server.keys.reconciler.taken
    server.node.claimed = {key.port}
    taken.hold()
    assert taken.shared == {key.port}
    server.keys.change(key.id, lambda was: Draft(was.name, choices=Choices(port=0)))
    assert taken.shared == frozenset()


def test_a_taken_port_makes_no_repair_fail(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The others are repaired; it is told once, and the key starts when its port is free."""
    unlucky, other = server.make(), server.make()
    server.node.occupied = {unlucky.port}
    server.node.start_xray()
    server.node.running.pop(other.tag)  # type: ignore[union-attr]
    reconciler = server.keys.reconciler
    for _ in range(3):
        reconciler.reconcile()
    assert (server.lets_in(other), server.lets_in(unlucky)) == (True, False)
    assert reconciler.taken.ports == {unlucky.port}
    assert sum("taken by another program" in line for line in caplog.messages) == 1
    server.node.answers = False
    with pytest.raises(XrayUnavailable):
        reconciler.reconcile()
    server.node.answers = True
    server.node.occupied = set()
    reconciler.reconcile()
    assert server.lets_in(unlucky)
    assert reconciler.taken.ports == frozenset()


def test_connections_of_the_program_that_took_a_port_are_not_cut(server: Server) -> None:
    """They are not a customer's; those of the key are cut as soon as it listens again."""
    key = server.make()
    server.node.occupied = {key.port}
    server.node.start_xray()
    reconciler = server.keys.reconciler
    reconciler.reconcile()
    server.switch(key, on=False)
    with pytest.raises(PortTaken):
        server.switch(key, on=True)
    assert not any(key.port in plan.cut for plan in server.node.applied)
    server.node.occupied = set()
    server.switch(key, on=True)
    server.keys.delete(key.id)
    assert key.port in server.node.applied[-1].cut


def test_a_subscription_ends_with_its_key_while_the_disk_is_full(server: Server) -> None:
    """The deletion is not stored yet: the customer's address says at once that the key is gone."""
    key = server.make()
    reconciler = server.keys.reconciler
    subscriptions = SubscriptionService(server.store, server.clock, "https://203.0.113.7:8000", reconciler.stops.keys)
    _, token = subscriptions.rotate(key)
    assert subscriptions.find(token) == (key,)
    server.store.memory.is_full = True
    with pytest.raises(NotWritten):
        server.keys.delete(key.id)
    assert subscriptions.find(token) == ()
