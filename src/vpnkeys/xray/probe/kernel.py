"""Xray's probes of REALITY targets, ended as soon as they have seen what they are for.

A probe shakes hands with the target and then listens, to learn what a server sends unasked right after: session
tickets, HTTP/2 settings. It listens until the target hangs up, five seconds at most (`record_detect.go` of
xtls/reality), and takes whatever came by then. Until it ends, every client sleeps five seconds. What a server sends
unasked it sends at once, so that the rest of the time is only waiting: here the kernel ends the probe's connection
after twice the time of a handshake and a little more. A customer whose handshake hangs on such a connection is let go
as well, and comes back to a warm name instead of sleeping.
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
    """The probes of the running Xray. `xray_pid` raises XrayUnavailable, `report` tells of a server name's target."""

    xray_pid: Callable[[], int]
    report: Callable[[str], TargetReport | None]

    def patience_s(self, server_names: Iterable[str]) -> float | None:
        """How long after Xray's start these names' probes have seen enough; None while that cannot be told."""
        reports = [self.report(name) for name in server_names]
        known = [report.handshake_s for report in reports if report is not None and report.address is not None]
        return 2 * max(known) + _SETTLE_S if known else None

    def end(self, server_names: Iterable[str]) -> None:
        """End the probes of these names' targets. Where the kernel does not let us, they take their five seconds.

        Raises XrayUnavailable.
        """
        reports = [self.report(name) for name in server_names]
        peers = {report.address for report in reports if report is not None and report.address is not None}
        try:
            cut_outgoing(self.xray_pid(), peers)
        except OSError as error:
            _log.debug("probes of targets are not ended early: %s", error)
