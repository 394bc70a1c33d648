"""The order in which changes are applied.

Stops are stored before the node is asked, starts only after the node has applied them:

    before ──(stops, for good)──▶ stopped ──(starts, or not at all)──▶ after
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from vpnkeys.domain.change.changes import Intent, KeyChanges, Stop
from vpnkeys.domain.change.snapshot import Snapshot
from vpnkeys.domain.key import ID, PORT, Key, Keys


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a change: `first` is stored before the node is asked, `last` after the node has applied it.

    `stops` are the keys that work before and not after, and those that are deleted with them. `asked` are earlier
    stops of the keys in this change. `ports` are those of keys that start, are new, or move, `left` those
    that no key has after it. Only the keys in `named` differ between `before`, `stopped` and `after`.
    """

    before: Keys
    stopped: Keys
    after: Keys
    named: frozenset[str]
    first: KeyChanges
    last: KeyChanges
    stops: tuple[Stop, ...]
    asked: tuple[Stop, ...]
    intents: tuple[Intent, ...]
    ports: frozenset[int]
    left: frozenset[int]

    @classmethod
    def of(cls, snapshot: Snapshot, changes: KeyChanges, *, more_waits: bool = False) -> "Stages":
        """Return the stages of these changes. `more_waits`: higher limits are starts as well.

        Who asks a node elsewhere for a longer time, and gets no answer from it, asks again: had it been stored, the key
        would get that time twice.
        """
        before, named = Keys.of(snapshot.keys), changes.named
        was = {key.id: key for key in before.among(named)}
        first, last = split(was, changes, more_waits=more_waits)
        stopped = first.applied_to(before)
        after = last.applied_to(stopped)
        asked = tuple(stop for stop in snapshot.stops if stop.key_id in named)
        serving = {key.id for key in after.among(named) if key.serves}
        starting = (*last.new, *last.update)
        new = [key for key in (*changes.new, *changes.update) if key.id not in was or was[key.id].port != key.port]
        return cls(
            before=before,
            stopped=stopped,
            after=after,
            named=named,
            first=first,
            last=last,
            stops=_stops(was, first, serving, snapshot.now, {stop.key_id for stop in asked if not stop.is_confirmed}),
            asked=asked,
            intents=tuple(Intent.of(key, snapshot.now) for key in starting),
            ports=frozenset(key.port for key in (*starting, *new)),
            left=frozenset(was[one].port for one in (*changes.delete, *map(ID, new)) if one in was) - {*map(PORT, new)},
        )

    @property
    def is_repeat(self) -> bool:
        """Whether all is as this change wants it already: a client asks for the same again."""
        return bool(self.named) and self.after == self.before

    @property
    def answered(self) -> tuple[str, ...]:
        """The ids of keys whose stop can be deleted once this change is answered.

        Not that of a key that starts again before the node has confirmed its stop: the earlier call may still take
        effect, and the next stop must wait for it.
        """
        known = (stop for stop in self.asked if stop.is_confirmed or stop in self.unconfirmed)
        return tuple(stop.key_id for stop in (*self.stops, *known))

    @property
    def unconfirmed(self) -> tuple[Stop, ...]:
        """The earlier stops of this change's keys that are not confirmed yet, except of keys that start or work."""
        pending = tuple(stop for stop in self.asked if not stop.is_confirmed)
        if not pending:  # in most changes, and the keys may be many
            return ()
        working = {*(intent.key_id for intent in self.intents), *(key.id for key in self.after if key.serves)}
        return tuple(stop for stop in pending if stop.key_id not in working)


def _stops(
    was: Mapping[str, Key], first: KeyChanges, serving: Collection[str], at: datetime, pending: Collection[str]
) -> tuple[Stop, ...]:
    """Return the new stops of a change.

    A deleted key that did not work has nothing to stop. It gets a confirmed stop when others of the same request are
    stopped or pending, because a client that repeats the request names all of them. A key whose own stop is `pending`
    keeps that stop: a confirmed one in its place would answer 200 while the node still lets the key's clients in.
    """
    stopping = [key for key in was.values() if key.serves and key.id not in serving]
    stops = [Stop(key.id, key.uuid, key.port, at, node_id=key.node.id) for key in stopping]
    if stops or pending:
        idle = [was[key_id] for key_id in first.delete if not was[key_id].serves and key_id not in pending]
        stops += [Stop(key.id, key.uuid, key.port, at, is_confirmed=True, node_id=key.node.id) for key in idle]
    return tuple(stops)


def split(was: Mapping[str, Key], changes: KeyChanges, *, more_waits: bool = False) -> tuple[KeyChanges, KeyChanges]:
    """Return the changes to store before the node is asked, and those to store after the node has applied them.

    When no key starts, all are stored at once. Otherwise everything except stops waits for the starts: all or nothing.
    """
    update = tuple(key for key in changes.update if key != was.get(key.id))
    delete = tuple(key_id for key_id in changes.delete if key_id in was)
    whole = replace(changes, update=update, delete=delete)
    if not any(_starts(was.get(key.id), key, more_waits=more_waits) for key in (*changes.new, *update)):
        return whole, KeyChanges()
    stops = tuple(key for key in update if was[key.id].serves and not key.serves)
    return (
        KeyChanges(update=stops, delete=delete),
        replace(changes, update=tuple(key for key in update if key not in stops), delete=()),
    )


def _starts(was: Key | None, key: Key, *, more_waits: bool) -> bool:
    """Return whether the node has to add this key, or has to accept it with other settings than before."""
    if more_waits and was is not None and key.limits.allow_more_than(was.limits):
        return True
    if not key.serves:
        return False
    return was is None or not was.serves or _access(was) != _access(key)


def _access(key: Key) -> tuple[object, ...]:
    return key.uuid, key.port, key.short_id, key.sni, key.flow
