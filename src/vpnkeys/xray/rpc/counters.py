"""Reads Xray's counters together with the epoch, the name of the process life, that they belong to."""

import threading
from contextlib import suppress
from pathlib import Path

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.traffic import NOTHING, Bytes, Samples
from vpnkeys.files import listener_pid
from vpnkeys.xray.host.processes import epoch_of
from vpnkeys.xray.rpc.control import XrayControl

_CONNECT_TIMEOUT_S = 1.0
_SILENT = "Xray does not answer on its API; it is being restarted if it ended. Try again shortly."


class XrayCounters:
    """Reads the counters of the Xray that listens on the API's socket, our child or not.

    Each process life has a channel of its own: an open channel stays connected to the old process when a new one has
    made the socket anew, and its counters under the new epoch would be counted twice.
    """

    def __init__(self, api_socket: Path) -> None:
        self._api_socket = api_socket
        self._lock = threading.Lock()
        self._current: tuple[str, XrayControl] | None = None

    def epoch(self) -> str:
        """Return the epoch of the process that listens on the API's socket. Raises XrayUnavailable."""
        try:
            return epoch_of(self.pid())
        except OSError as error:
            raise XrayUnavailable(_SILENT) from error

    def pid(self) -> int:
        """Return the id of the process that listens on the API's socket. Raises XrayUnavailable."""
        try:
            return listener_pid(self._api_socket, _CONNECT_TIMEOUT_S)
        except OSError as error:
            raise XrayUnavailable(_SILENT) from error

    def sample(self) -> Samples:
        """Return all users' counters in bytes, with the epoch of their process. Raises XrayUnavailable."""
        # The epoch is read before and after: when it changed, the counters may be of either process.
        before = self.epoch()
        counters = self._control(before).counters("user>>>")
        if self.epoch() != before:
            msg = "Xray was restarted while its counters were read; try again."
            raise XrayUnavailable(msg)
        return Samples(before, _usage(counters))

    def close(self) -> None:
        """Close the channel."""
        with self._lock:
            current, self._current = self._current, None
        if current is not None:
            current[1].close()

    def _control(self, epoch: str) -> XrayControl:
        with self._lock:
            if self._current is None or self._current[0] != epoch:
                if self._current is not None:
                    self._current[1].close()
                self._current = epoch, XrayControl(self._api_socket)
            return self._current[1]


def _usage(counters: dict[str, int]) -> dict[str, Bytes]:
    """Return bytes up and down by email, from counters named `user>>>EMAIL>>>traffic>>>uplink|downlink`."""
    usage: dict[str, Bytes] = {}
    for name, value in counters.items():
        with suppress(ValueError):
            _, email, kind, direction = name.split(">>>")
            if kind == "traffic":
                seen = usage.get(email, NOTHING)
                usage[email] = seen._replace(up=value) if direction == "uplink" else seen._replace(down=value)
    return usage
