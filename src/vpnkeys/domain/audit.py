"""Entries of the audit log: what changed, with the values before and after. The store writes them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from vpnkeys.domain.actor import Actor
from vpnkeys.domain.change import KeyChanges
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits

Facts = Mapping[str, object]
"""JSON values by field name."""

NOTHING: Facts = MappingProxyType({})

_LIMITS = tuple(limit.name for limit in fields(Limits))


class Outcome(StrEnum):
    """An outcome says how a change ended."""

    DONE = "done"
    TAKEN_BACK = "taken_back"
    """The change could not be applied and was undone."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry describes one change. `subject` is the id of the changed object, empty for the server as a whole.

    `before` and `after` hold only the fields that differ; `before` is empty for a new object, `after` for a deleted.
    """

    action: str
    subject: str = ""
    before: Facts = field(default_factory=dict)
    after: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Filter:
    """Chooses records; a field that is empty chooses all.

    `action` is a whole one or the part before its dot; `actor` is a part of a name, in any case.
    """

    action: str = ""
    actor: str = ""
    outcome: Outcome | None = None


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Record:
    """A record is an entry as the log holds it. `at` is UTC without an offset; `id` grows with time."""

    id: int
    at: datetime
    actor: Actor
    entry: Entry
    outcome: Outcome
    detail: str = ""


def key_created(key: Key) -> Entry:
    """Return the entry for a new key."""
    return Entry("key.created", key.id, after=_facts(key))


def key_changed(before: Key, after: Key) -> Entry:
    """Return the entry for a changed key, whether a request or a limit changed it.

    `renewed` names a new UUID or short id, without its value.
    """
    was, is_now = _facts(before), _facts(after)
    changed = [name for name in was if was[name] != is_now[name]]
    facts = {name: is_now[name] for name in changed}
    renewed = [name for name in ("uuid", "short_id") if getattr(before, name) != getattr(after, name)]
    if renewed:
        facts["renewed"] = renewed
    return Entry("key.changed", after.id, {name: was[name] for name in changed}, facts)


def key_moved(before: Key, after: Key) -> Entry:
    """Return the entry for a key that moves to another port, perhaps of another node."""
    was, is_now = _place(before), _place(after)
    changed = [name for name in was if was[name] != is_now[name]]
    return Entry("key.moved", after.id, *({name: facts[name] for name in changed} for facts in (was, is_now)))


def _place(key: Key) -> dict[str, object]:
    return {"node": key.node.name, "port": key.port}


def key_updated(before: Key, after: Key) -> Iterator[Entry]:
    """Yield the entries for an updated key: one for a new place, one for all other changes."""
    moved = replace(before, node=after.node, port=after.port, port_assigned_at=after.port_assigned_at)
    if _place(after) != _place(before):
        yield key_moved(before, after)
    if after != moved:
        yield key_changed(moved, after)


def key_deleted(key: Key) -> Entry:
    """Return the entry for a deleted key."""
    return Entry("key.deleted", key.id, before=_facts(key))


def entries_of(before: Iterable[Key], changes: KeyChanges) -> tuple[Entry, ...]:
    """Return the entries for these changes; `before` are the keys before them."""
    named = changes.named
    was = {key.id: key for key in before if key.id in named}
    deleted = (key_deleted(was[key_id]) for key_id in changes.delete)
    updated = (entry for key in changes.update for entry in key_updated(was[key.id], key))
    return (*deleted, *updated, *(key_created(key) for key in changes.insert))


def _facts(key: Key) -> dict[str, object]:
    """Return the fields of a key that the log may hold.

    The UUID and the short id are left out: they grant access, and the log is never deleted.
    """
    limits = {name: _json(getattr(key.limits, name)) for name in _LIMITS}
    return {
        "name": key.name,
        "note": key.note,
        "is_active": key.is_active,
        "status": key.status.value,
        "port": key.port,
        "sni": key.sni,
        "fingerprint": None if key.fingerprint is None else key.fingerprint.value,
        **limits,
    }


def _json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
