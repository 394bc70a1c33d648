"""The audit log: what was changed, as it was before and after. Pure: who writes it down is the store."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from vpnkeys.domain.actor import Actor
from vpnkeys.domain.key import Key

Facts = Mapping[str, object]
"""JSON values by name."""

NOTHING: Facts = MappingProxyType({})


class Outcome(StrEnum):
    """How a change ended."""

    DONE = "done"
    TAKEN_BACK = "taken_back"
    """It was begun, could not be carried out, and everything is as before."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `subject` is the id of what was changed, empty for the server as a whole.

    A change tells in `before` and `after` only what differs; what was made has no `before`, what was removed no
    `after`.
    """

    action: str
    subject: str = ""
    before: Facts = field(default_factory=dict)
    after: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """An entry as it stands in the log. `at` is UTC without an offset; `id` grows with time."""

    id: int
    at: datetime
    actor: Actor
    entry: Entry
    outcome: Outcome
    detail: str = ""


def key_created(key: Key) -> Entry:
    """A key was made."""
    return Entry("key.created", key.id, after=_facts(key))


def key_changed(before: Key, after: Key) -> Entry:
    """A key was changed, by somebody or by its limits."""
    was, is_now = _facts(before), _facts(after)
    changed = [name for name in was if was[name] != is_now[name]]
    return Entry(
        "key.changed", after.id, {name: was[name] for name in changed}, {name: is_now[name] for name in changed}
    )


def key_moved(key: Key, port: int) -> Entry:
    """A key got another port."""
    return Entry("key.moved", key.id, {"port": key.port}, {"port": port})


def key_deleted(key: Key) -> Entry:
    """A key was removed."""
    return Entry("key.deleted", key.id, before=_facts(key))


def _facts(key: Key) -> dict[str, object]:
    """What is told of a key. Its UUID and short id are not: they let people in, and the log is kept for ever."""
    limits = {name: _json(value) for name, value in asdict(key.limits).items()}
    return {
        "name": key.name,
        "note": key.note,
        "is_active": key.is_active,
        "status": key.status.value,
        "port": key.port,
        "sni": key.sni,
        **limits,
    }


def _json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
