"""Bounds of connections: what the kernel is told, and what the watch ends and counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.traffic import Bytes
from vpnkeys.service.health.checks import ConnectionFacts, of_connections
from vpnkeys.service.health.codes import Code
from vpnkeys.xray.host import connections, sockets
from vpnkeys.xray.host.bounds import ConnectionBounds, Most, ruleset
from vpnkeys.xray.host.connections import ConnectionWatch, Ports
from vpnkeys.xray.host.processes import Descriptors
from vpnkeys.xray.host.sockets import OpenSocket

PORTS = range(10001, 10101)


def from_source(number: int, *, received: int = 5000, quiet_s: float = 0.0, host: int = 1) -> OpenSocket:
    """An open connection from 192.0.2.HOST to port 10001."""
    addresses = bytes([127, 0, 0, 1]).ljust(16, b"\0") + bytes([192, 0, 2, host]).ljust(16, b"\0")
    identity = (10001).to_bytes(2) + number.to_bytes(2) + addresses + number.to_bytes(12)
    return OpenSocket(identity, 2, number, 0, received, quiet_s)


class Kernel:
    """What sock_diag shows, and what was ended through it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Show nothing yet."""
        self.clients: list[OpenSocket] = []
        self.dials: list[OpenSocket] = []
        self.ended: list[OpenSocket] = []
        self.inodes = {1, 2, 3, 4}
        self.listening = [(10001, 1)]
        self.used = Descriptors(10, 1000)
        monkeypatch.setattr(sockets, "clients_of", lambda *_: self.clients)
        monkeypatch.setattr(sockets, "unmarked_to", lambda *_: self.dials)
        monkeypatch.setattr(sockets, "socket_inodes", lambda _: self.inodes)
        monkeypatch.setattr(sockets, "end", self.end)
        monkeypatch.setattr(connections, "listening", lambda: self.listening)
        monkeypatch.setattr(connections, "descriptors_of", lambda _: self.used)

    def end(self, opened: Iterable[OpenSocket]) -> int:
        """Remember them."""
        gone = list(opened)
        self.ended += gone
        return len(gone)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel that is told what to show."""
    return Kernel(monkeypatch)


class Time:
    """A clock that is set."""

    s = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.s


def watch_of(kernel: Kernel, *, most: int = 2048, kept: bool = True, time: Time | None = None) -> ConnectionWatch:
    """A watch beside a bound that the kernel keeps, or not."""
    assert kernel.ended == []
    bounds = ConnectionBounds("vpnkeys_0_bounds", Most(most, 0))
    bounds.is_kept = kept
    return ConnectionWatch(Ports(PORTS, {443}, 2), bounds, lambda: 1, now=time or Time())


def test_the_rules_name_each_bound_once() -> None:
    """A source is an IPv4 address or an IPv6 /64; loopback is none; a key is its port; 0 leaves a bound out."""
    text = ruleset("t", PORTS, Most(2048, 4096))
    assert "tcp dport != 10001-10100 accept" in text
    assert 'iif != "lo" add @source4 { ip saddr ct count over 2048 } goto refuse' in text
    assert 'iif != "lo" add @source6 { ip6 saddr & ffff:ffff:ffff:ffff:: ct count over 2048 } goto refuse' in text
    assert "add @port { tcp dport ct count over 4096 } goto refuse" in text
    assert "@source" not in ruleset("t", PORTS, Most(0, 4096))
    assert "@port" not in ruleset("t", PORTS, Most(2048, 0))


def test_a_connection_without_a_first_message_is_ended(kernel: Kernel) -> None:
    """Ten seconds of silence, or of a few bytes, end it; who has sent a first message stays however long."""
    time = Time()
    watch = watch_of(kernel, time=time)
    silent, dribbling = from_source(1, received=0, quiet_s=4.0), from_source(2, received=20)
    kernel.clients = [silent, dribbling, from_source(3, quiet_s=900.0)]
    watch.look()
    assert kernel.ended == []
    time.s += 6.0
    watch.look()
    assert kernel.ended == [silent]
    kernel.clients = [dribbling, from_source(3, quiet_s=900.0)]
    time.s += 4.0
    watch.look()
    assert kernel.ended == [silent, dribbling]
    assert (watch.ended, watch.open) == (2, 2)


def test_connections_of_another_program_are_left_alone(kernel: Kernel) -> None:
    """One may listen on a key's port: what it has accepted stays, and what waits for it."""
    watch = watch_of(kernel)
    theirs, ours = (from_source(number, received=0, quiet_s=20.0) for number in (9, 2))
    kernel.clients = [theirs, ours]
    watch.look()
    assert kernel.ended == [ours]
    kernel.ended.clear()
    kernel.clients = [theirs._replace(inode=0)]
    kernel.listening = [(10001, 9)]
    watch.look()
    assert kernel.ended == []
    kernel.listening = [(10001, 1)]
    watch.look()
    assert kernel.ended == kernel.clients


def test_silence_is_cut_short_when_descriptors_run_out(kernel: Kernel) -> None:
    """With half of Xray's descriptors in use a second of silence is enough."""
    watch = watch_of(kernel)
    kernel.clients = [from_source(1, received=0, quiet_s=1.5), from_source(2, received=0, quiet_s=0.5)]
    watch.look()
    assert kernel.ended == []
    kernel.used = Descriptors(501, 1000)
    watch.look()
    assert kernel.ended == kernel.clients[:1]


def test_where_the_kernel_keeps_no_bound_the_surplus_is_ended(kernel: Kernel) -> None:
    """Beyond the bound the silent ones of that source go first, then the newest; other sources keep theirs."""
    time = Time()
    watch = watch_of(kernel, most=2, kept=False, time=time)
    old, others = [from_source(n) for n in (1, 2)], [from_source(n, host=2) for n in (11, 12)]
    kernel.clients = [*old, *others]
    watch.look()
    time.s += 1.0
    silent, new = from_source(3, received=0), from_source(4)
    kernel.clients = [silent, new, *old, *others]
    watch.look()
    assert set(kernel.ended) == {silent, new}
    kernel.ended.clear()
    watch_of(kernel, most=2, kept=True).look()
    watch_of(kernel, most=0, kept=False).look()
    assert kernel.ended == []


def test_what_strangers_relay_is_counted_once(kernel: Kernel) -> None:
    """REALITY's own dials count once they carried more than a handshake; other programs' sockets never."""
    watch = watch_of(kernel)
    handshake, relay = from_source(1)._replace(sent=900, received=9000), from_source(2)._replace(sent=70_000)
    kernel.dials = [handshake, relay, from_source(77)._replace(sent=10**9)]
    watch.look()
    assert watch.relayed == Bytes(70_000, 5000)
    watch.look()
    assert watch.relayed == Bytes(70_000, 5000)
    kernel.dials = [relay._replace(sent=80_000, received=6000)]
    watch.look()
    kernel.dials = []
    watch.look()
    assert watch.relayed == Bytes(80_000, 6000)


def test_an_xray_that_is_away_does_not_end_the_watch(kernel: Kernel) -> None:
    """Nothing is known of descriptors, nor which connections would be its own: none is ended."""

    def away() -> int:
        raise XrayUnavailable("away")

    watch = replace(watch_of(kernel), pid=away)
    kernel.clients = [from_source(1, received=0, quiet_s=11.0)]
    watch.look()
    assert (kernel.ended, watch.open) == ([], 1)
    assert watch.descriptors is None


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        (ConnectionFacts(descriptors=(80, 100), tracked=(80, 100)), []),
        (ConnectionFacts(descriptors=(81, 100)), [Code.DESCRIPTORS_LOW]),
        (ConnectionFacts(tracked=(81, 100)), [Code.CONNTRACK_LOW]),
        (ConnectionFacts(unbounded="no nft"), [Code.CONNECTIONS_UNBOUNDED]),
    ],
)
def test_what_runs_out_is_a_problem_before_it_is_gone(facts: ConnectionFacts, codes: list[Code]) -> None:
    """Descriptors and entries of connection tracking are told of at four fifths."""
    assert [code for code, _ in of_connections(facts)] == codes
