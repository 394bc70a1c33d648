"""Several faults at once, and requests that are repeated meanwhile: what is answered holds all the same."""

import pytest
from tests.unit.test_change import Server

from vpnkeys.domain.change import KeyChanges, Stop
from vpnkeys.domain.errors import KeyNotFound, NotWritten, StopPending, XrayUnavailable
from vpnkeys.domain.limits import Limits, Status


@pytest.fixture
def server() -> Server:
    """Return a server without keys."""
    return Server()


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
    assert [stop.key_id for stop in stops.all()] == [key.id]
    confirmed = Stop(key.id, key.uuid, key.port, server.clock.now(), is_confirmed=True)
    stops.keep(KeyChanges(), [confirmed])
    assert [stop.is_confirmed for stop in stops.all()] == [False]
    server.store.memory.is_full, server.node.writable = False, True
    server.be_quiet()
    assert server.store.keys() == (other,)
    assert server.keys.delete(key.id) == (key.id,)
