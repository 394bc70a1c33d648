"""Ports that several servers of one host claim: no two have one, and no claim outlives its server."""

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.ports import free_port, release_range, reserve_range

from vpnkeys.xray.host.ports import PortClaims, _runs, can_listen, is_free

NOBODY = 65534


def in_another_process(does: Callable[[], bool], user: int | None = None) -> bool:
    """Do it in a fork, as another user if need be; whether it was true."""
    pid = os.fork()
    if pid == 0:
        try:
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            os._exit(0 if does() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def test_a_claimed_port_is_nobody_elses() -> None:
    """Not by asking and not by claiming; one that is released or whose server has ended is free again."""
    one, other = reserve_range(2)
    first, second = PortClaims(), PortClaims()
    assert first.claim([one]) == frozenset()
    assert (first.is_free(one), second.is_free(one), second.is_free(other)) == (True, False, True)
    assert second.claim([one, other]) == {one}
    assert first.claim([one, other]) == {other}
    assert second.hold([]) == frozenset()
    assert first.hold([other]) == frozenset()
    assert second.claim([one]) == frozenset()
    first.close()
    assert second.claim([one, other]) == frozenset()
    second.close()


def test_a_process_that_ends_leaves_no_claim() -> None:
    """However it ends: the kernel drops them."""
    (port,) = reserve_range(1)
    assert in_another_process(lambda: PortClaims().claim([port]) == frozenset())
    claims = PortClaims()
    assert claims.claim([port]) == frozenset()
    assert in_another_process(lambda: PortClaims().claim([port]) == {port})
    claims.close()


def test_tests_get_as_many_ports_side_by_side_as_they_need() -> None:
    """A server of a thousand keys too; ports that are in use stay so meanwhile."""
    before = reserve_range(3)
    many, after = reserve_range(1010), reserve_range(3)
    assert (len(before), len(many), len(after)) == (3, 1010, 3)
    assert len({*before, *many, *after}) == 1016
    for ports in (before, many, after):
        release_range(ports)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_claims_hold_between_users() -> None:
    """Nothing has to be written anywhere."""
    (port,) = reserve_range(1)
    claims = PortClaims()
    assert claims.claim([port]) == frozenset()
    assert in_another_process(lambda: PortClaims().claim([port]) == {port}, NOBODY)
    assert in_another_process(lambda: not PortClaims().is_free(port), NOBODY)
    claims.close()


def test_many_at_once_claim_each_port_once() -> None:
    """Eight servers and forty ports: each has one owner."""
    ports = reserve_range(40)
    servers = [PortClaims() for _ in range(8)]
    barrier = threading.Barrier(len(servers))

    def claims(server: PortClaims) -> list[int]:
        barrier.wait()
        return [port for port in ports if not server.claim([port])]

    with ThreadPoolExecutor(len(servers)) as pool:
        claimed = [port for owned in pool.map(claims, servers) for port in owned]
    assert sorted(claimed) == [*ports]
    for server in servers:
        server.close()


def test_without_the_locks_no_port_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that hides /proc: a look at who listens has to do."""
    monkeypatch.setattr("vpnkeys.xray.host.ports._NAMESPACE", "/nowhere")
    first, second = PortClaims(), PortClaims()
    assert (first.claim([10001]), second.is_free(10001), second.hold([10001])) == (frozenset(), True, frozenset())
    first.close()


def test_ports_in_a_row_are_one_lock() -> None:
    """A server with thousands of keys starts with few calls."""
    assert list(_runs({7, 3, 4, 5, 9})) == [(3, 3), (7, 1), (9, 1)]
    assert list(_runs(())) == []


def test_who_listens_is_seen_where_an_inbound_would_listen() -> None:
    """Also when both would share the port (SO_REUSEPORT), as two of the same user can."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = free_port()  # on every address: the kernel would choose one that is free on this one alone
        listener.bind(("127.0.0.2", port))
        listener.listen()
        assert (is_free(port), can_listen("127.0.0.2", port), can_listen("0.0.0.0", port)) == (False, False, False)  # noqa: S104
        assert can_listen("127.0.0.1", port)
    assert is_free(port)
