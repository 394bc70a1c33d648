"""Stop keys when they should stop, and bring them back when they may work again."""

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
    failing="limits could not be looked at",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S,),
    late_after_s=10.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class Enforcer:
    """Looks at every limit once a second, with a sample of traffic every other one while a key's traffic is limited.

    So a key stops within some three seconds of the byte or the second that broke its limit.
    """

    keys: KeyService
    traffic: TrafficService
    worker: Worker = field(init=False)
    _devices: dict[str, list[str]] = field(default_factory=dict, init=False)
    _sampled_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """Nothing is looked at before the worker starts."""
        self.worker = Worker(_JOB, self.look)

    def judge_now(self) -> None:
        """Do not wait for the next look; when it cannot be done now, that one will."""
        with suppress(Unavailable):
            self.keys.enforce_limits()

    def look(self) -> None:
        """Look at all limits once. Raises Unavailable."""
        keys = self.keys.list()
        now = self.keys.clock.now()
        if any(_expiry_is_due(key, now) for key in keys):
            self.keys.enforce_limits()  # first: a date is struck also while Xray gives no numbers
        if any(key.limits.traffic_bytes is not None for key in keys) and self._sample_now_and_then():
            self.keys.enforce_limits()
        self._turn_away_devices(key for key in self.keys.list() if key.serves)

    def _sample_now_and_then(self) -> bool:
        now = time.monotonic()
        if now - self._sampled_at < _SAMPLE_EVERY_S:
            return False
        self._sampled_at = now
        self.traffic.collect()
        return True

    def _turn_away_devices(self, keys: Iterable[Key]) -> None:
        """Whoever came first stays; addresses beyond a key's number are cut off, again and again."""
        limited = {key.uuid: key for key in keys if key.limits.max_devices is not None}
        online = self.keys.reconciler.node.addresses_online(limited)
        self._devices = {uuid: arrivals(self._devices.get(uuid, []), online[uuid]) for uuid in limited}
        for uuid, key in limited.items():
            for address in self._devices[uuid][key.limits.max_devices :]:
                self.keys.reconciler.host.cut_device(key.port, address)


def _expiry_is_due(key: Key, now: datetime) -> bool:
    """Whether the key has expired, or has not any more, since it was last judged."""
    expires_at = key.limits.expires_at
    return (expires_at is not None and now >= expires_at) != (key.limit_status is Status.EXPIRED)


def arrivals(before: Iterable[str], online: Iterable[str]) -> list[str]:
    """Who is online, in order of arrival, those who came together by name."""
    here = set(online)
    stayed = [address for address in before if address in here]
    return stayed + sorted(here.difference(stayed))
