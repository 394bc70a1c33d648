"""What a server's keys should be, told naively: a dictionary of keys, and what each has used by hour.

The verdict on a key is told here once more, in other words than the product's, for the limits that the tests give.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status, Window


@dataclass(slots=True)
class Model:
    """Keys by id as they were last answered, bytes by account: counted ones by day, and those that no sample saw."""

    keys: dict[str, Key] = field(default_factory=dict)
    counted: dict[str, dict[str, int]] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)

    @property
    def working(self) -> list[Key]:
        """The keys that should let their customers in."""
        return [key for key in self.keys.values() if key.status is Status.ACTIVE]

    @property
    def speeds(self) -> dict[int, int]:
        """The speed limits by port."""
        return {key.port: key.limits.speed_mbps for key in self.keys.values() if key.limits.speed_mbps}

    def put(self, *keys: Key) -> None:
        """These were answered."""
        self.keys |= {key.id: key for key in keys}

    def used(self, key: Key, now: datetime) -> int:
        """What counts against a key's limit."""
        days = self.counted.get(key.account, {})
        return sum(days.values()) if key.limits.traffic_window == Window.TOTAL else days.get(f"{now:%F}", 0)

    def judged(self, key: Key, now: datetime) -> Key:
        """The key with what its limits make of it, the date before the bytes."""
        verdict, limits = Status.ACTIVE, key.limits
        if limits.traffic_bytes and self.used(key, now) >= limits.traffic_bytes:
            verdict = Status.LIMITED
        if limits.expires_at and limits.expires_at <= now:
            verdict = Status.EXPIRED
        return replace(key, limit_status=verdict)

    def sample(self, now: datetime) -> None:
        """All bytes were counted."""
        for uuid, count in self.unseen.items():
            days = self.counted.setdefault(uuid, {})
            days[f"{now:%F}"] = days.get(f"{now:%F}", 0) + count
        self.unseen = {}
