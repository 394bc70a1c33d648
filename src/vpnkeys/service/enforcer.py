"""Stops keys whose limits are reached, and starts them again when their limits allow it."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
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

    So a key stops within about three seconds of the byte or the second that reached its limit.
    """

    keys: KeyService
    traffic: TrafficService
    worker: Worker = field(init=False)
    _devices: dict[str, list[str]] = field(default_factory=dict, init=False)
    _sampled_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is checked before it starts."""
        self.worker = Worker(_JOB, self.look)

    def enforce_now(self) -> None:
        """Enforce the limits now. Errors are ignored, because the next check, a second later, does the same."""
        with suppress(Unavailable):
            self.keys.enforce_limits()

    def look(self) -> None:
        """Check all limits once. Raises Unavailable."""
        keys = self.keys.list()
        now = self.keys.clock.now()
        if any(_expiry_is_due(key, now) for key in keys):
            self.keys.enforce_limits()  # first: a date must be enforced also while Xray gives no counters
        if any(key.limits.traffic_bytes is not None for key in keys) and self._sample_if_due():
            self.keys.enforce_limits()
        # Read again: the calls above may have stopped keys or started them.
        self._cut_devices_over_limit(key for key in self.keys.list() if key.serves)

    def _sample_if_due(self) -> bool:
        now = time.monotonic()
        if now - self._sampled_at < _SAMPLE_EVERY_S:
            return False
        self._sampled_at = now
        self.traffic.collect()
        return True

    def _cut_devices_over_limit(self, keys: Iterable[Key]) -> None:
        """End the connections of addresses beyond a key's `max_devices`; the addresses that came first stay."""
        limited = {key.uuid: key for key in keys if key.limits.max_devices is not None}
        online = self.keys.reconciler.node.addresses_online(limited)
        self._devices = {uuid: arrivals(self._devices.get(uuid, []), online[uuid]) for uuid in limited}
        for uuid, key in limited.items():
            # At every check: Xray knows nothing of the limit, so a device that was cut off connects again at once.
            for address in self._devices[uuid][key.limits.max_devices :]:
                self.keys.reconciler.host.cut_device(key.port, address)


def _expiry_is_due(key: Key, now: datetime) -> bool:
    """Return whether the stored limit status is wrong about expiry: expired and not noted, or noted and extended."""
    expires_at = key.limits.expires_at
    return (expires_at is not None and now >= expires_at) != (key.limit_status is Status.EXPIRED)


def arrivals(before: Iterable[str], online: Iterable[str]) -> list[str]:
    """Return the addresses online in order of arrival; those that arrived since `before` are sorted, to be stable."""
    here = set(online)
    stayed = [address for address in before if address in here]
    return stayed + sorted(here.difference(stayed))
