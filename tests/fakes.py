"""A Node and a Clock in memory that keep the promises of `vpnkeys.interfaces`, and can be told to break down.

The Store is in `tests.fake_store`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from vpnkeys.domain.errors import (
    ConfigRefused,
    ConfigUnwritable,
    PortTaken,
    SpeedLimitImpossible,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.inbound import AnyInbound, ForeignInbound, Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import FileState, FileView, Observed, Plan, RunningView
from vpnkeys.domain.reality import pad_short_id
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.traffic import NOTHING, Bytes, Carried, Samples
from vpnkeys.domain.trial import Egress, Outcome, Trial
from vpnkeys.xray.host.taken import worst_of

_TRIED_UP_BYTES, _TRIED_DOWN_BYTES = 60, 110


class Crash(BaseException):
    """The service dies here. Not an Exception: nothing in the product may think of catching it."""


@dataclass(slots=True)
class Steps:
    """Counts what is done to the world outside; the service dies instead of the step after `left` more ones."""

    left: int | None = None

    def step(self) -> None:
        """Do one more thing, or die."""
        if self.left is None:
            return
        if self.left == 0:
            self.left = None
            raise Crash
        self.left -= 1


@dataclass(slots=True)
class FakeClock:
    """A time of day that moves when it is told to. As with the system's, the host's may be ahead of what counts."""

    time: datetime = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """UTC, without an offset."""
        return self.time - self.ahead

    def host_time(self) -> datetime:
        """As it is."""
        return self.time

    def advance(self, **by: float) -> datetime:
        """Let time pass: `advance(hours=1)`."""
        self.time += timedelta(**by)
        return self.time


@dataclass(slots=True, eq=False)
class Connection:
    """A customer's open connection."""

    uuid: str
    port: int
    is_open: bool = True
    address: str = "192.0.2.1"
    email: str = ""


@dataclass(slots=True)
class FakeNode:
    """A Node in memory: a config.json, an Xray that can be down, and customers who hold connections.

    Xray refuses to add the tags in `refuses` and whatever would listen on a port in `occupied` by another program.
    When it does not answer, a change that it was asked for is never made, or if it `is_late`, by `make_late_changes`.
    """

    steps: Steps = field(default_factory=Steps)
    file: FileView = field(default_factory=lambda: FileView(FileState.MISSING, {}))
    running: dict[str, AnyInbound] | None = None
    names: frozenset[str] = frozenset()
    occupied: set[int] = field(default_factory=set)
    claimed: set[int] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    refuses_all: bool = False
    writable: bool = True
    file_is_fit: bool = True
    connections: list[Connection] = field(default_factory=list)
    counters: dict[str, Bytes] = field(default_factory=dict)
    lives: int = 0
    applied: list[Plan] = field(default_factory=list)
    speeds: dict[int, int] = field(default_factory=dict)
    can_limit_speeds: bool = True
    outdated: bool = False
    answers: bool = True
    is_late: bool = False
    late: list[Callable[[], object]] = field(default_factory=list)
    silent: dict[str, float] = field(default_factory=dict)
    bad_names: dict[str, str] = field(default_factory=dict)
    chance: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - tests that repeat

    def observe(self) -> Observed:
        """What is."""
        running = None if self.running is None or not self.answers else RunningView(dict(self.running), self.epoch())
        return Observed(replace(self.file, inbounds=dict(self.file.inbounds)), running)

    def apply(self, plan: Plan) -> None:
        """Step by step, so that the service may die between any two."""
        self.applied.append(plan)
        if plan.file is not None:
            self._write(plan.file)
        for tag in plan.remove:
            self._ask(lambda tag=tag: self._remove_late(tag))  # type: ignore[misc]
            self._xray().pop(tag, None)
        for port in plan.cut:
            self.steps.step()
            self._close(port)
        refused: dict[Inbound, XrayRefused] = {}
        for inbound in plan.add:
            self._ask(lambda inbound=inbound: self._add_late(inbound))  # type: ignore[misc]
            if not self._add(inbound):
                kind = XrayRefused if self.can_listen(inbound) else PortTaken
                refused[inbound] = kind(f"Xray refuses {inbound.tag}")
        for port, email in plan.cut_users:
            self.steps.step()
            self._close(port, email=email)
        if refused:
            raise worst_of(refused)

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """The counters of this life."""
        self._ask()
        self._xray()
        asked = self.counters if uuids is None else uuids
        return Samples(self.epoch(), {uuid: self.counters[uuid] for uuid in asked if uuid in self.counters})

    def carried(self) -> Carried | None:
        """All that it has counted."""
        self._ask()
        self._xray()
        return Carried(self.epoch(), sum(used.up + used.down for used in self.counters.values()))

    def check(self, desired: tuple[Inbound, ...]) -> None:
        """Whether Xray would start with these."""
        self._test()

    def check_file(self) -> None:
        """Whether Xray would start with what is there."""
        self._test()

    def quiesce(self) -> Samples:
        """Customers out, then the last counters."""
        self._ask()
        for tag, inbound in list(self._xray().items()):
            if inbound.port is not None:
                del self._xray()[tag]
                self._close(inbound.port)
        return self.sample()

    def restart(self) -> None:
        """A new life from the file."""
        self._xray()
        self.start_xray()
        self._xray()

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """Always fresh."""
        return self.look_at_targets()

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """All fit."""
        return tuple(TargetReport(name, f"{name}:443") for name in sorted(self.names))

    def is_outdated(self) -> bool:
        """As a test says."""
        return self.outdated

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Exactly these from now on, or what was."""
        if mbps_by_port and not self.can_limit_speeds:
            raise SpeedLimitImpossible("no nftables here")
        if mbps_by_port != self.speeds:
            self.steps.step()
        self.speeds = dict(mbps_by_port)

    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Where open connections come from."""
        if uuids:
            self._ask()
            self._xray()
        here = {uuid: [c.address for c in self.connections if c.is_open and c.uuid == uuid] for uuid in uuids}
        return {uuid: tuple(dict.fromkeys(reversed(found)))[::-1] for uuid, found in here.items()}

    def silent_for(self, port: int) -> dict[str, float]:
        """As it was set by the test."""
        return {c.address: self.silent.get(c.address, 0.0) for c in self.connections if c.is_open and c.port == port}

    def cut_device(self, port: int, source: str) -> None:
        """Only theirs, and only there."""
        self._close(port, source)

    def is_up(self) -> bool:
        """Whether Xray runs."""
        return self.running is not None

    def is_free(self, port: int) -> bool:
        """Whether neither Xray nor another program listens there."""
        listening = {inbound.port for inbound in (self.running or {}).values()}
        return port not in self.occupied | self.claimed | listening | self.file.reserved.keys()

    def claim_ports(self, wanted: Collection[int]) -> frozenset[int]:
        """No other server wants them, but those in `claimed`."""
        return frozenset(wanted) & self.claimed

    def release_ports(self, left: Collection[int]) -> None:
        """There is no other server."""

    def hold_ports(self, wanted: Collection[int]) -> frozenset[int]:
        """The same."""
        return self.claim_ports(wanted)

    def can_listen(self, inbound: Inbound) -> bool:
        """Whether no other program does."""
        return inbound.port not in self.occupied

    def epoch(self) -> str:
        """Also while it hangs."""
        if self.running is None:
            raise XrayUnavailable("Xray is down")
        return f"life-{self.lives}"

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """Names are ready whenever Xray is."""
        return self.names if self.is_up() else frozenset()

    def working_names(self, most: int, wait_s: float, but: str = "") -> frozenset[str]:
        """Any of those that are ready."""
        ready = sorted(self.ready_names() - {but})
        return frozenset(self.chance.sample(ready, min(most, len(ready))))

    def problem_of_name(self, server_name: str) -> str:
        """What it was told."""
        return self.bad_names.get(server_name, "")

    def try_link(self, key: Key) -> Trial:
        """What a customer who comes and goes would find."""
        connection = self.connect(key, address="127.0.0.1")
        if connection is None:
            return Trial(Outcome.PORT_SILENT if self.is_free(key.port) else Outcome.REFUSED)
        self.carry(connection, up=_TRIED_UP_BYTES, down=_TRIED_DOWN_BYTES)
        self.connections.remove(connection)
        egress = Egress(works=True, detail=f"{key.sni}:443 shook hands")
        return Trial(Outcome.WORKS, "", 0.003, 0.004, _TRIED_DOWN_BYTES, egress)

    def start_xray(self) -> None:
        """A new life of Xray with what the file says; without a readable file it does not come up."""
        self.end_xray()
        if self.file.state is FileState.OK:
            self.lives += 1
            ours = {tag: i for tag, i in self.file.inbounds.items() if i.port not in self.occupied}
            self.running = {**ours, **{inbound.tag: inbound for inbound in self.file.foreign}}

    def end_xray(self) -> None:
        """Xray dies; its connections and its counters die with it."""
        self.running = None
        self.counters = {}
        self.answers, self.late = True, []
        for connection in self.connections:
            connection.is_open = False

    def connect(self, key: Key, address: str = "192.0.2.1") -> Connection | None:
        """What a customer with this key's link gets: a connection, or None."""
        for inbound in (self.running or {}).values():
            if isinstance(inbound, Inbound) and inbound.port == key.port and _lets_in(inbound, key):
                client = next(one for one in inbound.clients if one.uuid == key.uuid)  # a door has several
                connection = Connection(key.uuid, key.port, address=address, email=client.email)
                self.connections.append(connection)
                return connection
        return None

    def carry(self, connection: Connection, up: int, down: int) -> None:
        """Send bytes through an open connection."""
        assert connection.is_open
        email = connection.email or connection.uuid
        before = self.counters.get(email, NOTHING)
        self.counters[email] = Bytes(before.up + up, before.down + down)

    def make_late_changes(self) -> None:
        """Make the changes that this life of Xray was asked for while it did not answer."""
        changes, self.late = self.late, []
        for change in changes:
            change()

    def _ask(self, late: Callable[[], object] | None = None) -> None:
        if self.running is not None and not self.answers:
            if late is not None and self.is_late:
                self.late.append(late)
            raise XrayUnavailable("Xray hangs")

    def _remove_late(self, tag: str) -> None:
        if self.running is not None:
            self.running.pop(tag, None)

    def _add_late(self, inbound: Inbound) -> None:
        """As Xray does it: what is there already stays."""
        if self.running is not None and inbound.tag not in self.running and self.is_free(inbound.port or 0):
            self.running[inbound.tag] = inbound

    def _xray(self) -> dict[str, AnyInbound]:
        self.steps.step()
        if self.running is None:
            raise XrayUnavailable("Xray is down")
        return self.running

    def _write(self, inbounds: Iterable[Inbound]) -> None:
        self.steps.step()
        if not self.writable:
            raise ConfigUnwritable("the disk is full")
        self._test()
        foreign: tuple[ForeignInbound, ...] = self.file.foreign if self.file.state is FileState.OK else ()
        self.file = FileView(FileState.OK, {inbound.tag: inbound for inbound in inbounds}, foreign, api_inbounds=1)

    def _test(self) -> None:
        if not self.file_is_fit:
            raise ConfigRefused("Xray would not start with it")

    def _add(self, inbound: Inbound) -> bool:
        xray = self._xray()
        xray.pop(inbound.tag, None)
        if self.refuses_all or inbound.tag in self.refuses or inbound.port in self.occupied:
            return False
        xray[inbound.tag] = inbound
        return True

    def _close(self, port: int, address: str | None = None, email: str | None = None) -> None:
        for connection in self.connections:
            known = {connection.email, connection.uuid, None}
            if connection.port == port and address in {None, connection.address} and email in known:
                connection.is_open = False


def _lets_in(inbound: Inbound, key: Key) -> bool:
    reality = inbound.reality
    return (
        any((client.uuid, client.flow) == (key.uuid, key.flow) for client in inbound.clients)
        and pad_short_id(key.short_id) in reality.short_ids
        and key.sni in reality.server_names
    )
