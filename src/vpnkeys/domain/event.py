"""What may be told to others as it happens: kinds of events, and which of them a change of keys makes. Pure."""

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from vpnkeys.domain.audit import Facts
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.traffic import Gap


class Kind(StrEnum):
    """What happened."""

    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_DELETED = "key.deleted"
    KEY_LIMITED = "key.limited"
    KEY_EXPIRED = "key.expired"
    KEY_ACTIVE = "key.active"
    """It works again."""
    TRAFFIC_GAP = "traffic.gap"
    """Xray ended unasked: bytes may be missing from the accounts."""
    DRIFT_FOUND = "drift.found"
    """config.json or the running Xray was not what the database says, and is put right."""
    PING = "ping"
    """A test that somebody asked for."""


class News(NamedTuple):
    """Something that happened, not yet told to anybody. Nothing in `data` lets anybody in."""

    kind: Kind
    data: Facts


@dataclass(frozen=True, slots=True)
class Event:
    """News with an id (UUID 4) by which a receiver knows it again, and its time, UTC without an offset."""

    id: str
    kind: Kind
    at: datetime
    data: Facts

    @classmethod
    def of(cls, news: News, at: datetime) -> "Event":
        """The news as told to all receivers: one id for all of them."""
        return cls(str(uuid.uuid4()), news.kind, at, news.data)

    def body(self) -> str:
        """The JSON that is sent."""
        told = {"id": self.id, "event": self.kind.value, "created_at": _stamp(self.at), "data": dict(self.data)}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


_STATUS_NEWS = {
    Status.ACTIVE: Kind.KEY_ACTIVE,
    Status.EXPIRED: Kind.KEY_EXPIRED,
    Status.LIMITED: Kind.KEY_LIMITED,
}
"""A key that is switched off is one that was changed."""


def news_of_keys(before: Iterable[Key], after: Iterable[Key]) -> Iterator[News]:
    """What a change of keys is to others: deletions first, then changes, then new keys.

    A key whose settings change and which therefore stops or works again is told of twice: `key.changed`, then why.
    """
    before, after = tuple(before), tuple(after)
    if before == after:
        return
    was, is_now = {key.id: key for key in before}, {key.id: key for key in after}
    yield from (News(Kind.KEY_DELETED, _facts(key)) for key in before if key.id not in is_now)
    for key in after:
        if key.id in was and key != was[key.id]:
            yield from _news_of_change(was[key.id], key)
    yield from (News(Kind.KEY_CREATED, _facts(key)) for key in after if key.id not in was)


def _news_of_change(before: Key, after: Key) -> Iterator[News]:
    was, facts = _facts(before), _facts(after)
    changed = [name for name in facts if facts[name] != was[name] and name != "status"]
    if changed:
        yield News(Kind.KEY_CHANGED, {**facts, "changed": changed})
    if before.status is not after.status and after.status in _STATUS_NEWS:
        yield News(_STATUS_NEWS[after.status], facts)


def news_of_gap(gap: Gap) -> News:
    """Bytes may have passed uncounted."""
    return News(Kind.TRAFFIC_GAP, {"since": _stamp(gap.since), "until": _stamp(gap.until)})


def news_of_drift(*, file_rewritten: bool, removed: int, added: int) -> News:
    """What was wrong, as what has to be done about it: inbounds that go from the running Xray, and that come."""
    return News(Kind.DRIFT_FOUND, {"file_rewritten": file_rewritten, "removed": removed, "added": added})


def _facts(key: Key) -> Facts:
    """What is told of a key: neither its UUID nor its short id, which let people in."""
    limits = key.limits
    return {
        "id": key.id,
        "name": key.name,
        "note": key.note,
        "port": key.port,
        "sni": key.sni,
        "status": key.status.value,
        "is_active": key.is_active,
        "expires_at": None if limits.expires_at is None else _stamp(limits.expires_at),
        "traffic_limit_bytes": limits.traffic_bytes,
        "traffic_limit_window": limits.traffic_window.value,
        "max_devices": limits.max_devices,
        "speed_limit_mbps": limits.speed_mbps,
    }


def _stamp(moment: datetime) -> str:
    """As everywhere in the API: ISO 8601 with six decimals, UTC, no offset."""
    return moment.isoformat(timespec="microseconds")
