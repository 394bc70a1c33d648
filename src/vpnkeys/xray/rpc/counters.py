"""Reads Xray's counters together with the epoch, the name of the process life, that they belong to."""

import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.traffic import NOTHING, Bytes, Carried, Samples
from vpnkeys.owner import NotOurs, listener_pid
from vpnkeys.xray.host.processes import epoch_of, is_running
from vpnkeys.xray.rpc.control import XrayControl

_CONNECT_TIMEOUT_S = 1.0
_COST_OF_ONE = 160
"""Reading one user's two counters costs as much as this many in an answer with all: 0.5 ms and 3.1 us (measured)."""

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
        self._all = "", 0  # the epoch of the last answer with all counters, and how many there were

    def epoch(self) -> str:
        """Return the epoch of the process that listens on the API's socket. Raises XrayUnavailable.

        Where the socket was removed, that of the process at the open channel: it counts and obeys until it is ended.
        """
        try:
            return epoch_of(self.pid())
        except (OSError, XrayUnavailable) as error:
            current = self._current
            if current is not None and not self._api_socket.exists() and is_running(current[0]):
                return current[0]
            raise XrayUnavailable(_SILENT) from error

    def pid(self) -> int:
        """Return the id of the process that listens on the API's socket. Raises XrayUnavailable."""
        try:
            return listener_pid(self._api_socket, _CONNECT_TIMEOUT_S)
        except (OSError, NotOurs) as error:
            raise XrayUnavailable(_SILENT) from error

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """Return the counters of these users (None: of all) in bytes, with the epoch of their process.

        Raises XrayUnavailable.
        """
        # The epoch is read before and after: when it changed, the counters may be of either process.
        before = self.epoch()
        usage = self._usage(before, uuids)
        if self.epoch() != before:
            msg = "Xray was restarted while its counters were read; try again."
            raise XrayUnavailable(msg)
        return Samples(before, usage)

    def carried(self) -> Carried | None:
        """Return the bytes of all outbounds; None if Xray does not count them. Raises XrayUnavailable."""
        # The channel is of this one process, so that the counters cannot be of another epoch.
        epoch = self.epoch()
        counters = self._control(epoch).counters("outbound>>>")
        return Carried(epoch, sum(counters.values())) if counters else None

    def _usage(self, epoch: str, uuids: Collection[str] | None) -> dict[str, Bytes]:
        control = self._control(epoch)
        # Xray never removes a counter, so after many deletions almost all of an answer is about keys that are gone.
        if uuids is not None and epoch == self._all[0] and len(uuids) * _COST_OF_ONE < self._all[1]:
            used = {uuid: Bytes(*(control.counter(name) for name in _names(uuid))) for uuid in uuids}
            return {uuid: counted for uuid, counted in used.items() if counted != NOTHING}
        counters = control.counters("user>>>")
        self._all = epoch, len(counters)
        usage = _usage(counters)
        return usage if uuids is None else {uuid: usage[uuid] for uuid in uuids if uuid in usage}

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


def _names(uuid: str) -> tuple[str, str]:
    return f"user>>>{uuid}>>>traffic>>>uplink", f"user>>>{uuid}>>>traffic>>>downlink"


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
