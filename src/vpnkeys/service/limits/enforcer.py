"""Stops keys whose limits are reached, and starts them again when their limits allow it."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import ACCOUNT, Key, Keys
from vpnkeys.domain.limits import Status
from vpnkeys.domain.limits.devices import Device, surplus
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.dates import DueDates
from vpnkeys.service.limits.notices import LimitNotices
from vpnkeys.service.limits.striking import enforce_limits
from vpnkeys.service.traffic import TrafficService
from vpnkeys.worker import Job, Worker

_LOOK_EVERY_S = 1.0
_SAMPLE_EVERY_S = 2.0
_ALL_EVERY_S = 10.0
_JOB = Job(
    name="enforcer",
    failing="limits could not be checked",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S,),
    late_after_s=10.0,
    expected=(Unavailable,),
)


@dataclass(frozen=True, slots=True)
class _Watched:
    """Which of the keys have limits of each kind; it is the same until keys change.

    `limited` are the accounts of those that are used up: each may start again when its port is free.
    """

    keys: tuple[Key, ...]
    counting: Keys
    limited: frozenset[str]
    with_devices: Mapping[str, Key]
    dates: DueDates

    @classmethod
    def of(cls, keys: tuple[Key, ...]) -> Self:
        """Return the limits of these keys."""
        return cls(
            keys,
            Keys(key for key in keys if key.limits.traffic_bytes is not None or key.limits.is_waiting),
            frozenset(key.account for key in keys if key.limit_status is Status.LIMITED),
            {key.account: key for key in keys if key.serves and key.limits.max_devices is not None},
            DueDates.of(keys),
        )


@dataclass(slots=True)
class Enforcer:
    """Checks all limits once a second, those of traffic after each sample, of the keys that have been used.

    It takes a sample of its own where there was none for two seconds while a limit depends on it. A traffic limit that
    is reached between two samples is noticed sooner by `service.limits.quotas`.
    """

    keys: KeyService
    traffic: TrafficService
    now: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    notices: LimitNotices = field(init=False)
    _devices: dict[str, Mapping[str, Device]] = field(default_factory=dict, init=False)
    _sampled_at: float = field(default=float("-inf"), init=False)
    _samples: int = field(default=0, init=False)
    _all_at: float = field(default=float("-inf"), init=False)
    _checked: tuple[tuple[Key, ...], date] | None = field(default=None, init=False)
    _watched: _Watched = field(default_factory=lambda: _Watched.of(()), init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is checked before it starts."""
        self.worker = Worker(_JOB, self.look)
        self.notices = LimitNotices(self.traffic.store, self.traffic.clock)

    def enforce_now(self) -> None:
        """Enforce the limits now. Errors are ignored, because the next check, a second later, does the same."""
        with suppress(Unavailable):
            enforce_limits(self.keys.changer)

    def look(self) -> None:
        """Check all limits once: each kind also while another one cannot be checked. Raises Unavailable."""
        if (keys := self.keys.reconciler.stops.last_keys()) is not self._watched.keys:
            self._watched = _Watched.of(keys)
        # Dates first: they must be enforced also while Xray gives no counters.
        checks = (self._enforce_dates, self._enforce_traffic, self._cut_devices_over_limit)
        errors = [error for check in checks if (error := _error_of(check)) is not None]
        if errors:
            raise errors[0]

    def _enforce_dates(self) -> None:
        if self._watched.dates.is_due(self.keys.clock.now()):
            enforce_limits(self.keys.changer)

    def _enforce_traffic(self) -> None:
        if not self._watched.counting or not self._is_sampled():
            return
        used, state = self.traffic.usage.take_used(), (self._watched.keys, self.keys.clock.now().date())
        # All when windows begin or keys have changed, and once in a while: another server may have reset one.
        is_all = state != self._checked or self.now() - self._all_at >= _ALL_EVERY_S
        self._checked, is_done = None, True  # if this fails, the next check is of all
        counting = (
            self._watched.counting if is_all else self._watched.counting.those(ACCOUNT, used | self._watched.limited)
        )
        # Notices last, though they come too late then for a key that is used up: limits must not wait for webhooks.
        if counting:
            enforce_limits(self.keys.changer, accounts=[*map(ACCOUNT, counting)])
            limited = tuple(key for key in counting if key.limits.traffic_bytes is not None)
            usage = self.traffic.usage.of_each(limited)
            is_done = self.notices.notify((key, one.used_bytes) for key, one in zip(limited, usage, strict=True))
        self._checked = state if is_done else None
        self._all_at = self.now() if is_all else self._all_at

    def _is_sampled(self) -> bool:
        """Return whether there is a sample since the last check: of the sampler, or its own if that takes none."""
        now = self.now()
        if is_due := now - self._sampled_at >= _SAMPLE_EVERY_S:
            self._sampled_at = now
            self.traffic.collect()
        is_new, self._samples = self.traffic.samples != self._samples, self.traffic.samples
        self._sampled_at = now if is_new else self._sampled_at
        return is_due or is_new

    def _cut_devices_over_limit(self) -> None:
        """End the connections of devices beyond a key's `max_devices`: see `domain.limits.devices`."""
        limited = self._watched.with_devices
        online = self.keys.reconciler.node.addresses_online(limited)
        self._devices = {uuid: devices for uuid, devices in self._devices.items() if uuid in limited}
        for uuid, key in limited.items():
            self._devices[uuid] = self._cut_surplus(key, self._devices.get(uuid, {}), online[uuid])

    def _cut_surplus(self, key: Key, known: Mapping[str, Device], online: Collection[str]) -> Mapping[str, Device]:
        host, limit = self.keys.reconciler.host, key.limits.max_devices or 0
        devices, gone = surplus(known, online, limit, lambda: host.silent_for(key.port), self.now())
        for source in gone:
            # At every check: Xray knows nothing of the limit, so a device that was cut off connects again at once.
            for port in (key.port, *(door.port for door in self.keys.reconciler.site.doors if key.id in door.by_key)):
                host.cut_device(port, source)
        return devices


def _error_of(check: Callable[[], None]) -> Unavailable | None:
    """Return why a check could not be made; None when it was."""
    try:
        check()
    except Unavailable as error:
        return error
    return None
