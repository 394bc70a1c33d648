"""Changes of keys as values: what a decision sees, the changes it returns, and the order in which they are applied.

Stops are stored before the node is asked, starts only after the node has applied them:

    before ──(stops, for good)──▶ stopped ──(starts, or not at all)──▶ after
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from vpnkeys.domain.key import ACCOUNT, ID, PORT, SHORT_ID, UUID, Key, Keys, Taken, find, spelled, tag_of, windows_of
from vpnkeys.domain.limits import judge
from vpnkeys.domain.nodes import LOCAL, NodeRef
from vpnkeys.domain.reality import pad_short_id
from vpnkeys.domain.traffic import Samples

ANSWERS_KEPT_FOR = timedelta(hours=24)
"""How long an answer is stored for a client that repeats its request because the answer was lost."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent to start a key: its port, UUID and short id are reserved, and the API does not show it yet."""

    key_id: str
    uuid: str
    port: int
    short_id: str
    at: datetime
    node_id: int = LOCAL.id

    @classmethod
    def of(cls, key: Key, at: datetime) -> "Intent":
        """Return the intent to start this key."""
        return cls(key.id, key.uuid, key.port, key.short_id, at, key.node.id)


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop of a key, stored until the node has confirmed it and the client has the answer.

    It is stored in the commit that stops the key, and keeps the key's port reserved until it is confirmed.
    """

    key_id: str
    uuid: str
    port: int
    at: datetime
    is_confirmed: bool = False
    node_id: int = LOCAL.id

    @classmethod
    def of(cls, intent: Intent) -> "Stop":
        """Return the stop of a key whose start is undone: the node may already accept its customers."""
        return cls(intent.key_id, intent.uuid, intent.port, intent.at, node_id=intent.node_id)

    @property
    def tag(self) -> str:
        """The tag of the inbound to remove."""
        return tag_of(self.key_id)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer to a request that may be repeated, by the hash of its Idempotency-Key."""

    key_hash: str
    body_hash: str
    answer: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """The changes that a decision returns. `update` holds complete keys, also with other ports; `delete` holds ids.

    `counted` are the counters that Xray still has of deleted keys whose UUIDs the inserted keys have.

    A key in `update` or `delete` that is already in that state changes nothing, but its earlier stop is confirmed.
    """

    insert: tuple[Key, ...] = ()
    update: tuple[Key, ...] = ()
    delete: tuple[str, ...] = ()
    answer: KeptAnswer | None = None
    counted: Samples | None = None

    def __bool__(self) -> bool:
        return bool(self.insert or self.update or self.delete)

    @property
    def named(self) -> frozenset[str]:
        """The ids of all keys in this change."""
        return frozenset((*(key.id for key in (*self.insert, *self.update)), *self.delete))

    def applied_to(self, keys: tuple[Key, ...]) -> Keys:
        """Return the keys after this change, oldest first."""
        if not self:  # asked for each answer
            return Keys.of(keys)
        stayed = Keys.of(keys).changed(self.delete, ())
        return stayed.changed((), (*(key for key in self.update if key.id in stayed.by(ID)), *self.insert))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The data that a decision may read. The callables only read too; none of them changes anything.

    Keys, intents and stops are those of one node; `elsewhere` are the keys of all others.
    """

    keys: tuple[Key, ...]
    intents: tuple[Intent, ...]
    stops: tuple[Stop, ...]
    now: datetime
    used_bytes: Callable[[Mapping[str, datetime | None]], Mapping[str, int]]
    is_free: Callable[[int], bool]
    chance: Random
    node: NodeRef = LOCAL
    elsewhere: Keys = field(default_factory=Keys)

    @property
    def taken_ports(self) -> frozenset[int]:
        """The ports that no new key may have: of keys, of intents, and of stops that are not confirmed."""
        return self.pending_ports.union(Keys.of(self.keys).by(PORT))

    @property
    def pending_ports(self) -> frozenset[int]:
        """The ports of intents, and of stops that are not confirmed: free again when the node answers."""
        pending = (stop.port for stop in self.stops if not stop.is_confirmed)
        return frozenset((*(intent.port for intent in self.intents), *pending))

    @property
    def old_stops(self) -> tuple[str, ...]:
        """The ids of keys whose stop is confirmed and older than a day, so that no client repeats its request."""
        old = self.now - ANSWERS_KEPT_FOR
        return tuple(stop.key_id for stop in self.stops if stop.is_confirmed and stop.at < old)

    @property
    def taken_short_ids(self) -> Taken:
        """The short ids that no new key may have, with all their digits."""
        known = tuple(keys.by(SHORT_ID) for keys in (Keys.of(self.keys), self.elsewhere))
        return Taken(known, {pad_short_id(one.short_id) for one in self.intents})

    @property
    def taken_uuids(self) -> Taken:
        """The UUIDs that no new key may have: of keys, of intents, and of stops that are not confirmed."""
        known = tuple(keys.by(what) for keys in (Keys.of(self.keys), self.elsewhere) for what in (UUID, ACCOUNT))
        pending = {stop.uuid for stop in self.stops if not stop.is_confirmed}
        return Taken(known, {intent.uuid for intent in self.intents} | pending)

    def new_uuid(self) -> str:
        """Return a random UUID (version 4)."""
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def find(self, id_or_uuid: str) -> Key:
        """Return the key with this id or UUID. Raises KeyNotFound."""
        return find(self.keys, id_or_uuid)

    def id_to_stop(self, id_or_uuid: str) -> str:
        """Return the id of a key that exists, or whose deletion was not answered yet. Raises KeyNotFound."""
        spellings = spelled(id_or_uuid)
        for stop in self.stops:
            if spellings & {stop.key_id, stop.uuid}:
                return stop.key_id
        return self.find(id_or_uuid).id

    def under_limits(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Return the keys with the status that their limits give them now, and terms that begin now, or as they are."""
        keys = self._with_terms_begun(tuple(keys))
        since = windows_of((key for key in keys if key.limits.traffic_bytes is not None), self.now)
        used = self.used_bytes(since) if since else {}
        return tuple(key.with_status(judge(key.limits, used.get(key.account, 0), self.now)) for key in keys)

    def _with_terms_begun(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        """Return the keys; those that have been used, and expire a time after their first byte, with the date."""
        waiting = {key.account: None for key in keys if key.limits.is_waiting}
        used = self.used_bytes(waiting) if waiting else {}
        if not any(used.values()):
            return keys
        return tuple(
            replace(key, limits=key.limits.begun(self.now)) if key.limits.is_waiting and used.get(key.account) else key
            for key in keys
        )


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
    def of(cls, snapshot: Snapshot, changes: KeyChanges) -> "Stages":
        """Return the stages of these changes."""
        before, named = Keys.of(snapshot.keys), changes.named
        was = {key.id: key for key in before.among(named)}
        first, last = split(was, changes)
        stopped = first.applied_to(before)
        after = last.applied_to(stopped)
        asked = tuple(stop for stop in snapshot.stops if stop.key_id in named)
        serving = {key.id for key in after.among(named) if key.serves}
        starting = (*last.insert, *last.update)
        new = [key for key in (*changes.insert, *changes.update) if key.id not in was or was[key.id].port != key.port]
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


def split(was: Mapping[str, Key], changes: KeyChanges) -> tuple[KeyChanges, KeyChanges]:
    """Return the changes to store before the node is asked, and those to store after the node has applied them.

    When no key starts, all are stored at once. Otherwise everything except stops waits for the starts: all or nothing.
    """
    update = tuple(key for key in changes.update if key != was.get(key.id))
    delete = tuple(key_id for key_id in changes.delete if key_id in was)
    whole = replace(changes, update=update, delete=delete)
    if not any(_starts(was.get(key.id), key) for key in (*changes.insert, *update)):
        return whole, KeyChanges()
    stops = tuple(key for key in update if was[key.id].serves and not key.serves)
    return (
        KeyChanges(update=stops, delete=delete),
        replace(changes, update=tuple(key for key in update if key not in stops), delete=()),
    )


def _starts(was: Key | None, key: Key) -> bool:
    """Return whether the node has to add this key, or has to accept it with other settings than before."""
    if not key.serves:
        return False
    return was is None or not was.serves or _access(was) != _access(key)


def _access(key: Key) -> tuple[object, ...]:
    return key.uuid, key.port, key.short_id, key.sni, key.flow
