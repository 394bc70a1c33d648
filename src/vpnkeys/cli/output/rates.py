"""The current rate of each key, computed from the server's live events."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from vpnkeys.cli.output.tables import status_of
from vpnkeys.client import AllTraffic, Health, Key, StreamEvent

_KEYS, _TRAFFIC, _HEALTH = TypeAdapter(list[Key]), TypeAdapter(AllTraffic), TypeAdapter(Health)


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """A key's usage, both directions together. The rate is None until there were two samples."""

    key_id: str
    name: str
    status: str
    port: int | None
    rate_bytes_per_s: float | None
    total_bytes: int
    devices: int | None


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    traffic: AllTraffic

    def totals(self) -> dict[str, int]:
        return {one.key_id: one.total_bytes for one in self.traffic.keys}


@dataclass(slots=True)
class LiveUsage:
    """The keys, samples and health received so far. `at_s` is the time of any monotonic clock, in seconds."""

    health: Health | None = None
    _keys: dict[str, Key] = field(default_factory=dict)
    _samples: tuple[_Sample, ...] = ()

    def add(self, event: StreamEvent, at_s: float) -> None:
        """Add an event. Raises pydantic's ValidationError when its data do not have the expected form."""
        if event.name == "keys":
            self._keys = {key.id: key for key in _KEYS.validate_python(event.data)}
        elif event.name == "traffic":
            # A rate needs two samples, and older ones would only smooth it.
            self._samples = (*self._samples[-1:], _Sample(at_s, _TRAFFIC.validate_python(event.data)))
        elif event.name == "health":
            self.health = _HEALTH.validate_python(event.data)

    @property
    def has_rates(self) -> bool:
        """Whether two samples were received, which a rate needs."""
        return len(self._samples) > 1

    def usage(self) -> list[KeyUsage]:
        """Return all keys by rate, the highest first, then by total."""
        if not self._samples:
            return []
        rates = self._rates()
        found = [
            KeyUsage(
                key_id=one.key_id,
                name=key.name if key else "",
                status=status_of(key) if key else "",
                port=key.port if key else None,
                rate_bytes_per_s=rates.get(one.key_id),
                total_bytes=one.total_bytes,
                devices=one.devices,
            )
            for one in self._samples[-1].traffic.keys
            for key in (self._keys.get(one.key_id),)
        ]
        return sorted(found, key=lambda one: (-(one.rate_bytes_per_s or 0), -one.total_bytes))

    def as_json(self) -> dict[str, Any]:
        """Return the usage as JSON values."""
        usage = self.usage()
        rate = sum(one.rate_bytes_per_s or 0 for one in usage)
        return {"rate_bytes_per_s": rate, "keys": [asdict(one) for one in usage]}

    def _rates(self) -> dict[str, float]:
        """Return bytes per second between the last two samples, by key id; 0 when a total was reset in between."""
        if not self.has_rates:
            return {}
        before, now = self._samples
        was, is_now, lasted_s = before.totals(), now.totals(), now.at_s - before.at_s
        # A key that is new in this sample has no growth yet; a total that fell was reset.
        grown = {key_id: max(0, total - was.get(key_id, total)) for key_id, total in is_now.items()}
        return {key_id: round(count / lasted_s, 1) for key_id, count in grown.items()}
