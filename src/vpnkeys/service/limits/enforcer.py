"""Stops keys whose limits are reached, and starts them again when their limits allow it."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.limits.devices import Device, surplus
from vpnkeys.service.keys import KeyService
from vpnkeys.service.traffic import TrafficService
from vpnkeys.worker import Job, Worker

_LOOK_EVERY_S = 1.0
_SAMPLE_EVERY_S = 2.0
_JOB = Job(
    name="enforcer",
    failing="limits could not be checked",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S,),
    late_after_s=10.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class Enforcer:
    """Checks all limits once a second, and samples traffic every two seconds while any key has a traffic limit.

    A traffic limit that is reached between two samples is noticed sooner by `service.limits.quotas`.
    """

    keys: KeyService
    traffic: TrafficService
    now: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    _devices: dict[str, Mapping[str, Device]] = field(default_factory=dict, init=False)
    _sampled_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is checked before it starts."""
        self.worker = Worker(_JOB, self.look)

    def enforce_now(self) -> None:
        """Enforce the limits now. Errors are ignored, because the next check, a second later, does the same."""
        with suppress(Unavailable):
            self.keys.enforce_limits()

    def look(self) -> None:
        """Check all limits once: each kind also while another one cannot be checked. Raises Unavailable."""
        # Dates first: they must be enforced also while Xray gives no counters.
        checks = (self._enforce_dates, self._enforce_traffic, self._cut_devices_over_limit)
        errors = [error for check in checks if (error := _error_of(check)) is not None]
        if errors:
            raise errors[0]

    def _enforce_dates(self) -> None:
        now = self.keys.clock.now()
        if any(_expiry_is_due(key, now) for key in self.keys.list()):
            self.keys.enforce_limits()

    def _enforce_traffic(self) -> None:
        if any(key.limits.traffic_bytes is not None for key in self.keys.list()) and self._sample_if_due():
            self.keys.enforce_limits()

    def _sample_if_due(self) -> bool:
        now = self.now()
        if now - self._sampled_at < _SAMPLE_EVERY_S:
            return False
        self._sampled_at = now
        self.traffic.collect()
        return True

    def _cut_devices_over_limit(self) -> None:
        """End the connections of devices beyond a key's `max_devices`: see `domain.limits.devices`."""
        limited = {key.account: key for key in self.keys.list() if key.serves and key.limits.max_devices is not None}
        online = self.keys.reconciler.node.addresses_online(limited)
        self._devices = {uuid: devices for uuid, devices in self._devices.items() if uuid in limited}
        for uuid, key in limited.items():
            self._devices[uuid] = self._cut_surplus(key, self._devices.get(uuid, {}), online[uuid])

    def _cut_surplus(self, key: Key, known: Mapping[str, Device], online: Collection[str]) -> Mapping[str, Device]:
        host, limit = self.keys.reconciler.host, key.limits.max_devices or 0
        devices, gone = surplus(known, online, limit, lambda: host.silent_for(key.port), self.now())
        for source in gone:
            # At every check: Xray knows nothing of the limit, so a device that was cut off connects again at once.
            host.cut_device(key.port, source)
        return devices


def _error_of(check: Callable[[], None]) -> Unavailable | None:
    """Return why a check could not be made; None when it was."""
    try:
        check()
    except Unavailable as error:
        return error
    return None


def _expiry_is_due(key: Key, now: datetime) -> bool:
    """Return whether the stored limit status is wrong about expiry: expired and not noted, or noted and extended."""
    expires_at = key.limits.expires_at
    return (expires_at is not None and now >= expires_at) != (key.limit_status is Status.EXPIRED)
