"""The Xray of this host: its file, its API, its sockets and, when it is our child, its process."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vpnkeys.domain.errors import ConfigRefused, XrayRefused, XrayUnavailable
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan, RunningView
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.traffic import Samples
from vpnkeys.domain.trial import Trial
from vpnkeys.xray.config.file import ConfigFile, Draft
from vpnkeys.xray.host import sockets
from vpnkeys.xray.host.speed import SpeedLimiter
from vpnkeys.xray.probe.server_names import ServerNameProber
from vpnkeys.xray.probe.targets import TargetWatch
from vpnkeys.xray.probe.trial import Trials
from vpnkeys.xray.rpc.control import XrayControl
from vpnkeys.xray.rpc.counters import XrayCounters

_log = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.05
_STILL_FOR_S = 0.05
_STILL_TIMEOUT_S = 2.0
_RESTART_TIMEOUT_S = 10.0


@dataclass(slots=True)
class LocalNode:
    """Keeps the promises of `interfaces.Node` for an Xray on this host."""

    file: ConfigFile
    control: XrayControl
    prober: ServerNameProber
    targets: TargetWatch
    api_socket: Path
    restart_process: Callable[[], None]
    speed: SpeedLimiter
    cut: Callable[[int, str | None], int] = sockets.cut
    _told_about_cutting: bool = field(default=False, init=False)
    _counters: XrayCounters = field(init=False)
    _trials: Trials = field(init=False)
    _writer: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._counters = XrayCounters(self.api_socket)
        self._writer = ThreadPoolExecutor(1, "config-writer")
        prober = self.prober
        self._trials = Trials(prober.xray, prober.environment, prober.site, self.file.base, self.targets.report)

    def observe(self) -> Observed:
        """The file and the running Xray, read now."""
        file = self.file.read()
        try:
            running = RunningView(self.control.inbounds(), self.epoch())
        except XrayUnavailable:
            return Observed(file, None)
        return Observed(file, running)

    def apply(self, plan: Plan) -> None:
        """The file first: while that cannot be written, nothing else is touched.

        What only comes is let in meanwhile, and taken back if need be: bringing a file to the disk takes as long.
        """
        if plan.file is not None and not plan.remove and not plan.cut and plan.add:
            self._add_while_writing(self.file.draft(plan.file), plan.add)
            return
        if plan.file is not None:
            self.file.write(plan.file)
        for tag in plan.remove:
            self.control.remove(tag)
        for port in plan.cut:
            self._cut(port)
        self._add_all(plan.add)

    def _add_while_writing(self, draft: Draft, added: tuple[Inbound, ...]) -> None:
        writing = self._writer.submit(self.file.put, draft)
        try:
            self._add_all(added)
        finally:
            if writing.exception() is not None:
                for inbound in added:
                    with suppress(XrayUnavailable):
                        self.control.remove(inbound.tag)
        writing.result()

    def _add_all(self, added: tuple[Inbound, ...]) -> None:
        refused = [error for inbound in added if (error := self._add(inbound)) is not None]
        if refused:
            raise refused[0]

    def prepare(self, desired: tuple[Inbound, ...]) -> None:
        """Make config.json fit for a start of Xray, tested by Xray itself. Raises ConfigUnwritable, ConfigRefused.

        When it is the operator's sections that Xray refuses, they are put aside: customers come first.
        """
        try:
            self.file.write(desired, always_check=True)
        except ConfigRefused as error:
            _log.error("%s", error)
            self.file.set_aside()
            self.file.write(desired, always_check=True)

    def sample(self) -> Samples:
        """All users' counters, with the epoch that they belong to: the same before and after, or Xray was replaced."""
        return self._counters.sample()

    def check(self, desired: tuple[Inbound, ...]) -> None:
        """Xray's own test, on a trial file."""
        self.file.test(desired)

    def quiesce(self) -> Samples:
        """Remove every customer's inbound, cut what is open, and wait until the counters stand still.

        Splicing counts a connection's bytes only when it closes, so that the counters move once more after the cut.
        """
        running = self.control.inbounds()
        for tag, inbound in running.items():
            if inbound.port is not None:
                self.control.remove(tag)
                self._cut(inbound.port)
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
        """End the process, and wait for the answer of the next."""
        before = self.epoch()
        self.restart_process()
        deadline = time.monotonic() + _RESTART_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(XrayUnavailable):
                if self.epoch() != before:
                    self.control.ping()
                    return
            time.sleep(0.01)
        msg = "Xray was ended and did not come back in time; the log says why."
        raise XrayUnavailable(msg)

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Limit ports by the kernel."""
        self.speed.apply(mbps_by_port)

    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Xray's own word: it knows who has got in, where a socket alone may be a stranger's."""
        online = self.control.online() if uuids else frozenset()
        return {uuid: self.control.addresses(uuid) if uuid in online else () for uuid in uuids}

    def cut_device(self, port: int, address: str) -> None:
        """End one address's connections."""
        self._cut(port, address)

    def is_up(self) -> bool:
        """Whether somebody listens on the API's socket."""
        try:
            self.epoch()
        except XrayUnavailable:
            return False
        return True

    def is_free(self, port: int) -> bool:
        """Whether nothing listens on the port."""
        return sockets.is_free(port)

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """The names that are warm and whose targets are fit."""
        deadline = time.monotonic() + wait_s
        while not (ready := self.prober.ready(wait_s) & self.targets.usable()) and time.monotonic() < deadline:
            time.sleep(_ASK_AGAIN_S)
        return ready

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """As the watch last saw them."""
        return self.targets.seen()

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """Look at all targets now."""
        return self.targets.look()

    def try_link(self, key: Key) -> Trial:
        """By a client process of its own."""
        return self._trials.of(key)

    def check_file(self) -> None:
        """Xray's own test of the file as it is."""
        self.file.check(self.file.path)

    def epoch(self) -> str:
        """The name of the life of the process behind the API's socket, be it our child or not."""
        return self._counters.epoch()

    def close(self) -> None:
        """Let go of Xray's API."""
        self._writer.shutdown()
        self.control.close()
        self._counters.close()

    def _add(self, inbound: Inbound) -> XrayRefused | None:
        """Add one inbound. What Xray refuses (a port that another program took) must not keep the others out."""
        try:
            self.control.add(inbound)
        except XrayRefused as error:
            _log.error("inbound %s on port %s: %s", inbound.tag, inbound.port, error)
            return error
        return None

    def _cut(self, port: int, peer: str | None = None) -> None:
        try:
            self.cut(port, peer)
        except OSError as error:
            if not self._told_about_cutting:
                self._told_about_cutting = True
                _log.warning(
                    "open connections of removed keys cannot be ended (%s): run the service as root or give it "
                    "CAP_NET_ADMIN; new connections are refused all the same",
                    error.strerror,
                )
