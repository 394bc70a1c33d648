"""Drives the Xray of this host: config.json, the gRPC API, open sockets and the process."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vpnkeys.domain.errors import DoorRefused, XrayRefused, XrayUnavailable
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.source import LOOPBACK, source_of
from vpnkeys.domain.plan import FileStep, Observed, Plan, RunningView
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.traffic import Carried, Samples
from vpnkeys.domain.trial import Trial
from vpnkeys.xray.config.file import ConfigFile, can_listen
from vpnkeys.xray.config.pieces import ConfigDraft
from vpnkeys.xray.host import ports, sockets
from vpnkeys.xray.host.ports import PortClaims
from vpnkeys.xray.host.speed import SpeedLimiter
from vpnkeys.xray.host.taken import port_taken, worst_of
from vpnkeys.xray.probe.names import ServerNames
from vpnkeys.xray.probe.server_names import ServerNameProber
from vpnkeys.xray.probe.targets import TargetWatch
from vpnkeys.xray.probe.trial import Trials
from vpnkeys.xray.rpc.control import XrayControl
from vpnkeys.xray.rpc.counters import XrayCounters

_log = logging.getLogger(__name__)

_STILL_FOR_S = 0.05  # counters that are equal at two samples this far apart have stopped
_STILL_TIMEOUT_S = 2.0
_RESTART_TIMEOUT_S = 10.0


@dataclass(slots=True)
class LocalNode:
    """Implements `interfaces.Node` for an Xray on this host."""

    file: ConfigFile
    control: XrayControl
    prober: ServerNameProber
    targets: TargetWatch
    api_socket: Path
    restart_process: Callable[[], None]
    speed: SpeedLimiter
    is_outdated: Callable[[], bool]
    cut: Callable[[Collection[int], str | None], int] = sockets.cut
    claims: PortClaims = field(default_factory=PortClaims)
    _has_warned_of_cutting: bool = field(default=False, init=False)
    _counters: XrayCounters = field(init=False)
    _names: ServerNames = field(init=False)
    _trials: Trials = field(init=False)
    _writer: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._counters = XrayCounters(self.api_socket)
        self._writer = ThreadPoolExecutor(1, "config-writer")
        self._names = ServerNames(self.prober, self.targets)
        prober, names = self.prober, self._names
        self._trials = Trials(
            prober.xray, prober.environment, prober.site, self.file.base, self.targets.report, names.problem_of
        )

    def observe(self) -> Observed:
        """Return what config.json and the running Xray contain now; `running` is None when Xray does not answer."""
        file = self.file.read()
        try:
            running = RunningView(self.control.inbounds(), self.epoch())
        except XrayUnavailable:
            return Observed(file, None)
        return Observed(file, running)

    def apply(self, plan: Plan) -> None:
        """Write config.json, then remove, cut and add inbounds in the running Xray.

        Raises ConfigUnwritable, ConfigRefused, XrayUnavailable, XrayRefused.
        """
        if plan.file is None:
            self._change(plan)
            return
        draft = self.file.draft(plan.file)
        # The syncs of the file take as long as a call of Xray, so both are done at once where neither has to wait: a
        # plan that only adds, whose inbounds are removed again if the file fails, and a stop, which has to happen
        # anyway. Else the file comes first: while it cannot be written, the running Xray is not changed.
        is_stop = isinstance(plan.file, FileStep) and not plan.add
        if is_stop or (plan.add and not plan.remove and not plan.cut):
            self._change_while_writing(draft, plan)
            return
        self.file.put(draft)
        self._change(plan)

    def _change_while_writing(self, draft: ConfigDraft, plan: Plan) -> None:
        writing = self._writer.submit(self.file.put, draft)
        try:
            self._change(plan)
        except DoorRefused:
            writing.result()
            raise
        finally:
            if writing.exception() is not None:  # waits for the writer
                for inbound in plan.add:
                    # A call that times out is raised: Xray may still have the inbound, and the caller has to know.
                    with suppress(XrayRefused):
                        self.control.remove(inbound.tag)
        writing.result()

    def _change(self, plan: Plan) -> None:
        """Remove, cut and add inbounds in the running Xray."""
        for tag in plan.remove:
            self.control.remove(tag)
        # After the removal, or clients would connect again at once: Xray keeps connections of a removed inbound open.
        if plan.cut:
            self._cut(plan.cut)
        try:
            self._add_all(plan.add)
        finally:  # those who are out must go, also where a door cannot listen again
            self._cut_users(plan.cut_users)

    def _cut_users(self, users: Collection[tuple[int, str]]) -> None:
        """End users' connections to ports of doors; all from this host end, as Xray does not tell those apart."""
        for port, email in users:
            for source in (*self._sources(email), *LOOPBACK):
                self._cut([port], source)

    def _add_all(self, added: tuple[Inbound, ...]) -> None:
        # All of them, then one error: a port that is taken must not keep other customers out.
        if refused := {one: error for one in added if (error := self._add(one)) is not None}:
            raise worst_of(refused)

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """Return the counters of these users (None: of all) and their epoch. Raises XrayUnavailable."""
        return self._counters.sample(uuids)

    def carried(self) -> Carried | None:
        """Return how many bytes all outbounds carried; None if Xray does not count them. Raises XrayUnavailable."""
        return self._counters.carried()

    def check(self, desired: tuple[Inbound, ...]) -> None:
        """Let Xray test a trial config.json with these inbounds. Raises ConfigRefused, ConfigUnwritable."""
        self.file.test(desired)

    def quiesce(self) -> Samples:
        """Remove all inbounds of customers, cut their connections, and return the final counters.

        Waits two seconds at most until the counters stop changing. Raises XrayUnavailable.
        """
        # The counters change after the cut too: Xray counts spliced bytes only when their connection closes.
        # Inbounds on Unix sockets test server names; no customer reaches them.
        ports = {tag: one.port for tag, one in self.control.inbounds().items() if one.port is not None}
        for tag in ports:
            self.control.remove(tag)
        self._cut(frozenset(ports.values()))
        deadline = time.monotonic() + _STILL_TIMEOUT_S
        last = self.sample()
        while time.monotonic() < deadline:
            time.sleep(_STILL_FOR_S)
            now = self.sample()
            if now == last:
                break
            last = now
        return last

    def restart(self) -> None:
        """End Xray, and wait up to ten seconds until the next process answers. Raises XrayUnavailable."""
        before = self.epoch()
        self.restart_process()
        deadline = time.monotonic() + _RESTART_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(XrayUnavailable):
                # Connecting proves nothing, as even a frozen Xray accepts: a call has to be answered.
                if self.epoch() != before:
                    self.control.ping()
                    return
            time.sleep(0.01)
        msg = "Xray was ended and does not answer again; see the log for the reason."
        raise XrayUnavailable(msg)

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Limit ports in the kernel, in Mbit/s each way; all others are unlimited. Raises SpeedLimitImpossible."""
        self.speed.apply(mbps_by_port)

    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the sources that each user is connected from, by UUID. Raises XrayUnavailable."""
        # From Xray, not from the kernel's sockets: an open socket may be a probe that REALITY passed to the target.
        online = self.control.online() if uuids else frozenset()
        return {uuid: self._sources(uuid) if uuid in online else () for uuid in uuids}

    def _sources(self, uuid: str) -> tuple[str, ...]:
        newest: dict[str, int] = {}
        for address, at in self.control.addresses(uuid).items():
            source = source_of(address)
            newest[source] = max(at, newest.get(source, at))
        return tuple(sorted(newest, key=lambda source: (newest[source], source)))

    def silent_for(self, port: int) -> dict[str, float]:
        """Return for how long each source with open connections to a port has sent no packet; empty if unknown."""
        try:
            return sockets.silent_for(port)
        except OSError:
            return {}

    def cut_device(self, port: int, source: str) -> None:
        """End the open connections of one source to a port."""
        self._cut([port], source)

    def is_up(self) -> bool:
        """Return whether a process listens on the API's socket; it may not answer calls yet."""
        with suppress(XrayUnavailable):
            return bool(self.epoch())
        return False

    def is_free(self, port: int) -> bool:
        """Return whether no process listens on the TCP port, and neither the operator nor another server has it."""
        return port not in self.file.reserved() and self.claims.is_free(port) and ports.is_free(port)

    def claim_ports(self, wanted: Collection[int]) -> frozenset[int]:
        """Claim these ports too among all servers of the host; return those that another one has."""
        return self.claims.claim(wanted)

    def release_ports(self, left: Collection[int]) -> None:
        """Let other servers of the host have these ports."""
        self.claims.release(left)

    def hold_ports(self, wanted: Collection[int]) -> frozenset[int]:
        """Claim exactly these ports among all servers of the host; return those that another one has."""
        return self.claims.hold(wanted)

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """Return the tested server names whose targets are usable; wait up to `wait_s` for the first one."""
        return self._names.ready(wait_s)

    def working_names(self, most: int, wait_s: float, but: str = "") -> frozenset[str]:
        """Return up to `most` ready names, chosen at random, whose targets answer at this moment as REALITY needs."""
        return self._names.working(most, wait_s, but)

    def problem_of_name(self, server_name: str) -> str:
        """Return why no client gets in by this name now; empty when clients do, or when nothing is known of it."""
        return self._names.problem_of(server_name)

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """Return the latest report of each target; a name that lets no test client in has a problem."""
        return self._names.reports()

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """Check all targets now; return their reports."""
        return self._names.check_all()

    def try_link(self, key: Key) -> Trial:
        """Connect with a real client by the key's link; return the result within ten seconds."""
        return self._trials.of(key)

    def check_file(self) -> None:
        """Let Xray test config.json as it is. Raises ConfigRefused."""
        self.file.check(self.file.path)

    def epoch(self) -> str:
        """Return the epoch, which names one process life, of the Xray that listens on the API's socket."""
        return self._counters.epoch()

    def close(self) -> None:
        """Close the connections to Xray's API and end the writer thread."""
        self._writer.shutdown()
        self.control.close()
        self._counters.close()
        self.claims.close()

    def _add(self, inbound: Inbound) -> XrayRefused | None:
        """Add one inbound; return the error when Xray refuses it, or another program has its port."""
        # Asked before, because an Xray of the same user on the port would share it without an error (SO_REUSEPORT). An
        # inbound that this Xray has already is replaced.
        if not self.can_listen(inbound) and inbound.tag not in self.control.inbounds():
            return port_taken(inbound)
        try:
            self.control.add(inbound)
        except XrayRefused as error:
            if inbound.port is not None and not ports.is_free(inbound.port):
                return port_taken(inbound)
            _log.error("inbound %s on port %s: %s", inbound.tag, inbound.port, error)
            return error
        return None

    def can_listen(self, inbound: Inbound) -> bool:
        """Return whether no other program keeps Xray from listening for an inbound that it does not have yet."""
        return can_listen(inbound)

    def _cut(self, ports: Collection[int], source: str | None = None) -> None:
        try:
            self.cut(ports, source)
        except OSError as error:
            if not self._has_warned_of_cutting:
                self._has_warned_of_cutting = True
                _log.warning(
                    "open connections of removed keys cannot be ended (%s): run the service as root or give it "
                    "CAP_NET_ADMIN; new connections are refused all the same",
                    error.strerror,
                )
