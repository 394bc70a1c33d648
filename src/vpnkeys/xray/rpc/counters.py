"""Xray's counters, and the life of the process that they belong to. All that a timer's sample needs."""

import threading
from contextlib import suppress
from pathlib import Path

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.traffic import NOTHING, Bytes, Samples
from vpnkeys.files import listener_pid
from vpnkeys.xray.process.child import epoch_of
from vpnkeys.xray.rpc.control import XrayControl

_CONNECT_TIMEOUT_S = 1.0
_SILENT = "Xray does not answer on its API; it is being restarted if it ended. Try again shortly."


class XrayCounters:
    """The counters of whichever Xray listens on the API's socket, be it our child or not.

    The socket's file tells the life, a channel the counters, and a channel outlives the file that it was opened by.
    So each life gets a channel of its own: counters under another life's name would be counted twice.
    """

    def __init__(self, api_socket: Path) -> None:
        self._api_socket = api_socket
        self._lock = threading.Lock()
        self._current: tuple[str, XrayControl] | None = None

    def epoch(self) -> str:
        """The name of the life of the process behind the API's socket. Raises XrayUnavailable."""
        try:
            return epoch_of(self.pid())
        except OSError as error:
            raise XrayUnavailable(_SILENT) from error

    def pid(self) -> int:
        """The process behind the API's socket. Raises XrayUnavailable."""
        try:
            return listener_pid(self._api_socket, _CONNECT_TIMEOUT_S)
        except OSError as error:
            raise XrayUnavailable(_SILENT) from error

    def sample(self) -> Samples:
        """All users' counters, with the epoch that they belong to: the same before and after, or Xray was replaced."""
        before = self.epoch()
        counters = self._control(before).counters("user>>>")
        if self.epoch() != before:
            msg = "Xray was restarted while its counters were read; try again."
            raise XrayUnavailable(msg)
        return Samples(before, _usage(counters))

    def close(self) -> None:
        """Let go of the channel."""
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
    """Counters named `user>>>EMAIL>>>traffic>>>uplink|downlink`, by email."""
    usage: dict[str, Bytes] = {}
    for name, value in counters.items():
        with suppress(ValueError):
            _, email, kind, direction = name.split(">>>")
            if kind == "traffic":
                seen = usage.get(email, NOTHING)
                usage[email] = seen._replace(up=value) if direction == "uplink" else seen._replace(down=value)
    return usage
