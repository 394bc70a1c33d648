"""Events for webhooks and live streams: their kinds, and which events a change of keys causes."""

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from vpnkeys.domain.audit import Facts
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status, WindowUsage
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.domain.traffic import Gap


class Kind(StrEnum):
    """A kind names what happened, as receivers see it in `event`."""

    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_DELETED = "key.deleted"
    KEY_LIMIT_NEAR = "key.limit_near"
    """80 or 95 % of the traffic limit are used; once each in a window."""
    KEY_LIMITED = "key.limited"
    KEY_EXPIRED = "key.expired"
    KEY_ACTIVE = "key.active"
    """The key works again."""
    TRAFFIC_GAP = "traffic.gap"
    """Xray ended without a final sample: bytes may be missing from the totals."""
    DRIFT_FOUND = "drift.found"
    """config.json or the running Xray differed from the database, and is being repaired."""
    NODE_SILENT = "node.silent"
    """A node elsewhere was not heard of for 15 seconds; its customers may notice nothing."""
    NODE_BACK = "node.back"
    """It is heard of again."""
    NODE_LOST = "node.lost"
    """The operator has given it up."""
    PING = "ping"
    """A test event, sent on request."""


class NewEvent(NamedTuple):
    """A new event, not stored yet, so without id and time. `data` holds nothing that grants access."""

    kind: Kind
    data: Facts


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is sent. `id` is a UUID 4, by which receivers drop repeats; `at` is UTC without an offset."""

    id: str
    kind: Kind
    at: datetime
    data: Facts

    @classmethod
    def of(cls, event: NewEvent, at: datetime) -> "Event":
        """Return the event with a fresh id, which is the same for all receivers."""
        return cls(str(uuid.uuid4()), event.kind, at, event.data)

    def body(self) -> str:
        """Return the JSON text of the request body."""
        document = {"id": self.id, "event": self.kind.value, "created_at": _stamp(self.at), "data": dict(self.data)}
        # Stored as text and never rendered again: the signature covers exactly these bytes.
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


_STATUS_EVENTS = {
    Status.ACTIVE: Kind.KEY_ACTIVE,
    Status.EXPIRED: Kind.KEY_EXPIRED,
    Status.LIMITED: Kind.KEY_LIMITED,
}
"""No entry for `disabled`: an operator disables a key, which `key.changed` says already."""


def events_of_keys(before: Iterable[Key], after: Iterable[Key]) -> Iterator[NewEvent]:
    """Yield the events that lead from one set of keys to another: deletions first, then changes, then new keys.

    A key whose new settings stop it or make it work again causes two: `key.changed`, then the event for its status.
    """
    before, after = tuple(before), tuple(after)
    if before == after:
        return
    was, is_now = {key.id: key for key in before}, {key.id: key for key in after}
    yield from (NewEvent(Kind.KEY_DELETED, _facts(key)) for key in before if key.id not in is_now)
    for key in after:
        if key.id in was and key != was[key.id]:
            yield from _events_of_change(was[key.id], key)
    yield from (NewEvent(Kind.KEY_CREATED, _facts(key)) for key in after if key.id not in was)


def _events_of_change(before: Key, after: Key) -> Iterator[NewEvent]:
    was, facts = _facts(before), _facts(after)
    changed = [name for name in facts if facts[name] != was[name] and name != "status"]
    # Their values grant access, so that receivers learn only that the link is another one.
    changed += [name for name in ("uuid", "short_id") if getattr(before, name) != getattr(after, name)]
    if changed:
        yield NewEvent(Kind.KEY_CHANGED, {**facts, "changed": changed})
    if before.status is not after.status and after.status in _STATUS_EVENTS:
        yield NewEvent(_STATUS_EVENTS[after.status], facts)


def event_of_limit_near(key: Key, percent: int, usage: WindowUsage) -> NewEvent:
    """Return the event for a key that has used so much of its traffic limit in the present window."""
    facts = {
        **_facts(key),
        "percent": percent,
        "used_in_window_bytes": usage.used_bytes,
        "remaining_bytes": usage.remaining_bytes,
        "resets_at": None if usage.resets_at is None else _stamp(usage.resets_at),
    }
    return NewEvent(Kind.KEY_LIMIT_NEAR, facts)


def event_of_gap(gap: Gap) -> NewEvent:
    """Return the event for a time in which bytes may have passed uncounted."""
    return NewEvent(Kind.TRAFFIC_GAP, {"since": _stamp(gap.since), "until": _stamp(gap.until)})


def event_of_drift(*, file_rewritten: bool, removed: int, added: int) -> NewEvent:
    """Return the event for a found drift; `removed` and `added` count the inbounds that the repair changes in Xray."""
    return NewEvent(Kind.DRIFT_FOUND, {"file_rewritten": file_rewritten, "removed": removed, "added": added})


def event_of_node(kind: Kind, node: NodeRef) -> NewEvent:
    """Return the event of this kind for a node elsewhere."""
    return NewEvent(kind, {"id": node.id, "name": node.name})


def _facts(key: Key) -> Facts:
    """Return the fields of a key that receivers may see: not the UUID and the short id, which grant access."""
    limits = key.limits
    return {
        "id": key.id,
        "name": key.name,
        "note": key.note,
        "node": key.node.name,
        "port": key.port,
        "sni": key.sni,
        "fingerprint": None if key.fingerprint is None else key.fingerprint.value,
        "status": key.status.value,
        "is_active": key.is_active,
        "expires_at": None if limits.expires_at is None else _stamp(limits.expires_at),
        "expires_after_s": limits.expires_after_s,
        "traffic_limit_bytes": limits.traffic_bytes,
        "traffic_limit_window": str(limits.traffic_window),
        "max_devices": limits.max_devices,
        "speed_limit_mbps": limits.speed_mbps,
    }


def _stamp(moment: datetime) -> str:
    """Return a time as the API writes it: ISO 8601 with six decimals, UTC, no offset."""
    return moment.isoformat(timespec="microseconds")
