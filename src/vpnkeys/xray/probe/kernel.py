"""Ends Xray's probes of REALITY targets early, by the kernel.

After its start Xray connects to each target and records what the server sends unasked after the handshake: session
tickets, HTTP/2 settings. It reads until the target closes, five seconds at most (`record_detect.go` of xtls/reality),
and each client that connects meanwhile sleeps five seconds. A server sends these records at once, so the connection is
ended after twice the duration of a handshake plus 0.4 s. A customer's connection to the target at that moment is ended
too; the client connects again, to a name that is ready. Measurements: docs/adr/0004-warm-names.md.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vpnkeys.domain.target import TargetReport
from vpnkeys.xray.host.sockets import cut_outgoing

_log = logging.getLogger(__name__)

_SETTLE_S = 0.4


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of the running Xray. `xray_pid` may raise XrayUnavailable; `report` gives a name's latest report."""

    xray_pid: Callable[[], int]
    report: Callable[[str], TargetReport | None]

    def patience_s(self, server_names: Iterable[str]) -> float | None:
        """Return the seconds after which these names' probes may be ended; None while no target was reached yet."""
        reports = [self.report(name) for name in server_names]
        known = [report.handshake_s for report in reports if report is not None and report.address is not None]
        return 2 * max(known) + _SETTLE_S if known else None

    def end(self, server_names: Iterable[str]) -> None:
        """End Xray's connections to these names' targets. Without CAP_NET_ADMIN they take their five seconds.

        Raises XrayUnavailable.
        """
        reports = [self.report(name) for name in server_names]
        peers = {report.address for report in reports if report is not None and report.address is not None}
        try:
            cut_outgoing(self.xray_pid(), peers)
        except OSError as error:
            _log.debug("probes of targets cannot be ended early: %s", error)
