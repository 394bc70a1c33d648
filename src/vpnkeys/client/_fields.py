"""What may be decided about a key, as keyword arguments and as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Required, TypedDict


class KeyLimits(TypedDict, total=False):
    """What may be decided about a key beside its name. None is no limit.

    `expires_at` without an offset is UTC; `expires_after_s` counts from the first byte; `traffic_limit_window` is
    `total`, `day`, `week`, `month`, `month@15` (from the 15th) or `30d` (rolling). `speed_limit_mbps` is in 10^6 bits
    per second, each way; `fingerprint` is the browser whose TLS handshake the customer's client imitates, None as the
    server is set.
    """

    is_active: bool
    note: str
    expires_at: datetime | None
    expires_after_s: int | None
    traffic_limit_bytes: int | None
    traffic_limit_window: str
    max_devices: int | None
    speed_limit_mbps: int | None
    fingerprint: str | None


class KeyFields(KeyLimits, total=False):
    """What may be changed; what is left out stays as it is. `port` moves the key, 0 to the lowest free port."""

    name: str
    port: int | None


class NewKeyFields(KeyLimits, total=False):
    """What may be decided about a new key beside its name; the server chooses what is left out.

    `sni` is one of its server names, `port` a free one of its range, `node` the id or name of a node, `group` that of
    any of its nodes.
    """

    uuid: str | None
    short_id: str | None
    sni: str | None
    port: int | None
    node: str | int | None
    group: str | None


class NewKey(NewKeyFields, total=False):
    """A key to be made."""

    name: Required[str]


def to_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as a request has them."""
    return {name: in_utc(value) if isinstance(value, datetime) else value for name, value in fields.items()}


def in_utc(moment: datetime) -> str:
    """Return the moment in ISO 8601 with Z; a moment without an offset is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat().replace("+00:00", "Z")


def span_of(since: datetime | None, until: datetime | None, step: str) -> dict[str, str]:
    """Return a span of time as the parameters of a request; the server chooses what is not given."""
    span = {name: in_utc(moment) for name, moment in (("from", since), ("to", until)) if moment is not None}
    return {**span, "step": step}
