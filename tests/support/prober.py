"""A prober of server names, beside a real Xray that has the inbounds for tests alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.binaries import xray_binary
from tests.support.process import wait_until
from tests.support.slowness import slowness
from tests.support.target import RealityTarget
from vpnkeys.domain.inbound import ServerIdentity, warm_inbounds
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.xray.config.check import xray_checker
from vpnkeys.xray.config.document import BaseConfig
from vpnkeys.xray.config.file import ConfigFile
from vpnkeys.xray.config.start import ChosenFile
from vpnkeys.xray.probe.kernel import Probes
from vpnkeys.xray.probe.server_names import ServerNameProber
from vpnkeys.xray.process.child import XrayCommand, XrayProcess
from vpnkeys.xray.process.launch import xray_environment
from vpnkeys.xray.rpc.control import XrayControl
from vpnkeys.xray.rpc.counters import XrayCounters

PATIENCE_S = 30.0
NONE = frozenset[str]()


@dataclass(frozen=True, slots=True)
class ProberBench:
    """The prober, the target of all its names, and Xray."""

    prober: ServerNameProber
    target: RealityTarget
    control: XrayControl
    site: ServerIdentity
    counters: XrayCounters

    def comes_to(self, *, ready: frozenset[str], failing: frozenset[str] = NONE) -> bool:
        """Test now, and wait for this result."""
        self.prober.try_again()
        return wait_until(lambda: (self.prober.ready, self.prober.failing) == (ready, failing), PATIENCE_S * slowness())


@contextmanager
def prober_bench(directory: Path, names: Sequence[str]) -> Iterator[ProberBench]:
    """Yield a prober whose names are all ready."""
    with RealityTarget(names, close_idle_s=0.1) as target, ExitStack() as stack:
        pair, api, xray = KeyPair.new(), directory / "api.sock", xray_binary()
        site = ServerIdentity(
            "127.0.0.1", pair.private_key, str(directory), tuple(names), target.address, "", pair.public_key
        )
        file = ConfigFile(directory / "config.json", BaseConfig(str(api), PortRange(10001, 10002)), xray_checker(xray))
        file.write(warm_inbounds(site))
        environment = xray_environment(target.ca_file)
        control, counters = XrayControl(api), XrayCounters(api)
        stack.callback(control.close)
        prober = ServerNameProber(xray, environment, lambda: site, Probes(counters.pid, lambda _: None))
        process = XrayProcess(
            XrayCommand(xray, lambda _quick_exits: ChosenFile(file.path), (api,), environment),
            on_up=lambda _: prober.xray_is_up(),
            on_down=prober.xray_is_down,
        )
        process.start()
        stack.callback(process.stop)
        prober.worker.start()
        stack.callback(prober.worker.stop)
        bench = ProberBench(prober, target, control, site, counters)
        assert bench.comes_to(ready=frozenset(names)), process.last_words()
        yield bench
