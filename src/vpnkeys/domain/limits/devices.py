"""Devices: which of a key's devices stay when there are more than its `max_devices`.

The newest stays. A device that was cut off and comes back stays out while those that replaced it are in use, so that
two devices do not cut each other off by turns. All times are seconds of a monotonic clock.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

SILENT_AFTER_S = 5.0
"""A device is in use while a packet of it came within this time; that of a lost network sends none."""

RETURNING_FOR_S = 60.0
"""A device that was cut off within this time is returning, not new."""


@dataclass(frozen=True, slots=True)
class Device:
    """Holds when a device came, when it was last online, and when it was cut off if it has not stayed since."""

    came_at: float
    online_at: float
    cut_at: float | None = None

    def is_present(self, now: float) -> bool:
        """Return whether it takes up a place: it may have no connection open for a moment between two."""
        return self.online_at == now or (self.cut_at is None and now - self.online_at < SILENT_AFTER_S)

    def is_forgotten(self, now: float) -> bool:
        """Return whether it would be new if it came again, now that it is not online."""
        if self.cut_at is None:
            return not self.is_present(now)
        return now - self.cut_at >= RETURNING_FOR_S


def surplus(
    known: Mapping[str, Device],
    online: Collection[str],
    limit: int,
    silent_for: Callable[[], Mapping[str, float]],
    now: float,
) -> tuple[dict[str, Device], tuple[str, ...]]:
    """Return a key's devices as they are known from now on, and those that have to be cut off.

    `online` has the devices in the order of their newest connections. `silent_for` returns for how long no packet came
    from a device; it is called only when there are too many.
    """
    devices = {name: device for name, device in known.items() if name in online or not device.is_forgotten(now)}
    for name in online:
        devices[name] = replace(devices.get(name, Device(now, now)), online_at=now)
    present = {name: device for name, device in devices.items() if device.is_present(now)}
    over = len(present) - limit
    leaving = _leaving(present, tuple(online), silent_for(), now)[:over] if over > 0 else []
    gone = tuple(name for name in leaving if name in online)
    for name in online:
        device = devices[name]
        if name in gone:
            devices[name] = replace(device, cut_at=now)
        elif device.cut_at is not None:  # it returned and stays: as if it came only now
            devices[name] = replace(device, came_at=now, cut_at=None)
    return devices, gone


def _leaving(
    present: Mapping[str, Device], online: Sequence[str], silent: Mapping[str, float], now: float
) -> list[str]:
    """Return devices in the order in which they have to leave: silent ones, returning ones, then the oldest."""

    def rank(name: str) -> tuple[bool, bool, float, int]:
        device = present[name]
        is_in_use = now - device.came_at < SILENT_AFTER_S or silent.get(name, 0.0) < SILENT_AFTER_S
        newest = online.index(name) if name in online else -1
        return is_in_use, device.cut_at is None, device.came_at, newest

    return sorted(present, key=rank)
