"""Keys as rows, and rows as keys."""

from collections.abc import Mapping
from typing import Any

from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window

_PLAIN = (
    "id",
    "name",
    "uuid",
    "created_at",
    "is_active",
    "port",
    "short_id",
    "sni",
    "flow",
    "port_assigned_at",
    "note",
)


def to_row(key: Key) -> dict[str, object]:
    """The columns of a key."""
    limits = key.limits
    return {name: getattr(key, name) for name in _PLAIN} | {
        "expires_at": limits.expires_at,
        "traffic_limit_bytes": limits.traffic_bytes,
        "traffic_limit_window": limits.traffic_window.value,
        "max_devices": limits.max_devices,
        "speed_limit_mbps": limits.speed_mbps,
        "judged": key.judged.value,
    }


def to_key(row: Mapping[Any, Any]) -> Key:
    """The key of a row."""
    limits = Limits(
        expires_at=row["expires_at"],
        traffic_bytes=row["traffic_limit_bytes"],
        traffic_window=Window(row["traffic_limit_window"]),
        max_devices=row["max_devices"],
        speed_mbps=row["speed_limit_mbps"],
    )
    return Key(**{name: row[name] for name in _PLAIN}, limits=limits, judged=Status(row["judged"]))
