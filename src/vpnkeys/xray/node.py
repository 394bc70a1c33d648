"""The Xray of this host: its file, its API, its sockets and, when it is our child, its process."""

import logging
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vpnkeys.domain.errors import ConfigRefused, XrayRefused, XrayUnavailable
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.plan import Observed, Plan, RunningView
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.xray import sockets
from vpnkeys.xray.configfile import ConfigFile
from vpnkeys.xray.control import XrayControl
from vpnkeys.xray.process import epoch_of
from vpnkeys.xray.warm import Warmth

_log = logging.getLogger(__name__)

_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


@dataclass(slots=True)
class LocalNode:
    """Keeps the promises of `interfaces.Node` for an Xray on this host."""

    file: ConfigFile
    control: XrayControl
    warmth: Warmth
    api_socket: Path
    cut: Callable[[int], int] = sockets.cut
    _told_about_cutting: bool = field(default=False, init=False)

    def observe(self) -> Observed:
        """The file and the running Xray, read now."""
        file = self.file.read()
        try:
            running = RunningView(self.control.inbounds(), self.epoch())
        except XrayUnavailable:
            return Observed(file, None)
        return Observed(file, running)

    def apply(self, plan: Plan) -> None:
        """The file first: while that cannot be written, nothing else is touched."""
        if plan.file is not None:
            self.file.write(plan.file)
        for tag in plan.remove:
            self.control.remove(tag)
        for port in plan.cut:
            self._cut(port)
        refused = [error for inbound in plan.add if (error := self._add(inbound)) is not None]
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
        before = self.epoch()
        counters = self.control.counters("user>>>")
        if self.epoch() != before:
            msg = "Xray was restarted while its counters were read; try again."
            raise XrayUnavailable(msg)
        return Samples(before, _usage(counters))

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
        """The warm server names."""
        return self.warmth.ready(wait_s)

    def epoch(self) -> str:
        """The name of the life of the process behind the API's socket, be it our child or not."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                peer.connect(os.fspath(self.api_socket))
                credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
            return epoch_of(_PEER_CREDENTIALS.unpack(credentials)[0])
        except OSError as error:
            msg = "Xray does not answer on its API; it is being restarted if it ended. Try again shortly."
            raise XrayUnavailable(msg) from error

    def _add(self, inbound: Inbound) -> XrayRefused | None:
        """Add one inbound. What Xray refuses (a port that another program took) must not keep the others out."""
        try:
            self.control.add(inbound)
        except XrayRefused as error:
            _log.error("inbound %s on port %s: %s", inbound.tag, inbound.port, error)
            return error
        return None

    def _cut(self, port: int) -> None:
        try:
            self.cut(port)
        except OSError as error:
            if not self._told_about_cutting:
                self._told_about_cutting = True
                _log.warning(
                    "open connections of removed keys cannot be ended (%s): run the service as root or give it "
                    "CAP_NET_ADMIN; new connections are refused all the same",
                    error.strerror,
                )


def _usage(counters: dict[str, int]) -> dict[str, Bytes]:
    """Counters named `user>>>EMAIL>>>traffic>>>uplink|downlink`, by email."""
    usage: dict[str, Bytes] = {}
    for name, value in counters.items():
        with suppress(ValueError):
            _, email, kind, direction = name.split(">>>")
            if kind == "traffic":
                seen = usage.get(email, Bytes(0, 0))
                usage[email] = seen._replace(up=value) if direction == "uplink" else seen._replace(down=value)
    return usage
