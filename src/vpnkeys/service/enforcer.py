"""Stop keys when they should stop, and bring them back when they may work again."""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.interfaces import Node
from vpnkeys.service.keys import KeyService
from vpnkeys.service.traffic import TrafficService

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_SAMPLE_EVERY_S = 2.0
_STOP_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Enforcer:
    """Looks at every limit once a second, with a sample of traffic every other one while a key's traffic is limited.

    So a key stops within some three seconds of the byte or the second that broke its limit.
    """

    keys: KeyService
    traffic: TrafficService
    node: Node
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _devices: dict[str, list[str]] = field(default_factory=dict, init=False)
    _sampled_at: float = field(default=float("-inf"), init=False)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._look_for_ever, name="enforcer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the look under way; whoever lets go of the database must not do so under it."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT_S)

    def judge_now(self) -> None:
        """Do not wait for the next look; when it cannot be done now, that one will."""
        with suppress(Unavailable):
            self.keys.enforce_limits()

    def look(self) -> None:
        """Look at all limits once. Raises Unavailable."""
        keys = self.keys.list()
        sampled = any(key.limits.traffic_bytes is not None for key in keys) and self._sample_now_and_then()
        now = self.keys.clock.now()
        if sampled or any(_expiry_is_due(key, now) for key in keys):
            self.keys.enforce_limits()
        self._turn_away_devices(key for key in self.keys.list() if key.status is Status.ACTIVE)

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
        online = self.node.addresses_online(limited)
        self._devices = {uuid: arrivals(self._devices.get(uuid, []), online[uuid]) for uuid in limited}
        for uuid, key in limited.items():
            for address in self._devices[uuid][key.limits.max_devices :]:
                self.node.cut_device(key.port, address)

    def _look_for_ever(self) -> None:
        silent = False
        while not self._ending.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except Unavailable as error:
                if not silent:  # once, not every second
                    _log.warning("limits could not be looked at: %s", error)
                silent = True
            except Exception as error:  # noqa: BLE001 - whatever it was, limits that never strike again are worse
                _log.error("looking at limits had to begin anew", exc_info=error)
            else:
                silent = False


def _expiry_is_due(key: Key, now: datetime) -> bool:
    """Whether the key has expired, or has not any more, since it was last judged."""
    expires_at = key.limits.expires_at
    return (expires_at is not None and now >= expires_at) != (key.limit_status is Status.EXPIRED)


def arrivals(before: Iterable[str], online: Iterable[str]) -> list[str]:
    """Who is online, in order of arrival, those who came together by name."""
    here = set(online)
    stayed = [address for address in before if address in here]
    return stayed + sorted(here.difference(stayed))
