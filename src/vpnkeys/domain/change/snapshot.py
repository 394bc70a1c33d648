"""What a decision about keys may read."""

import uuid
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

from vpnkeys.domain.change.changes import ANSWERS_KEPT_FOR, Intent, KeyChanges, Stop
from vpnkeys.domain.errors import KeyNotFound
from vpnkeys.domain.key import ACCOUNT, ID, PORT, SHORT_ID, UUID, Key, Keys, Taken, find, spelled, windows_of
from vpnkeys.domain.limits import judge
from vpnkeys.domain.nodes import LOCAL, NodeRef
from vpnkeys.domain.reality import pad_short_id


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The data that a decision may read. The callables only read too; none of them changes anything.

    Keys, intents and stops are those of one node; `everywhere` are the keys of all nodes. `first_used` says of accounts
    when their first byte was carried, where that was not just now.
    """

    keys: tuple[Key, ...]
    intents: tuple[Intent, ...]
    stops: tuple[Stop, ...]
    now: datetime
    used_bytes: Callable[[Mapping[str, datetime | None]], Mapping[str, int]]
    is_free: Callable[[int], bool]
    chance: Random
    node: NodeRef = LOCAL
    everywhere: Keys = field(default_factory=Keys)
    first_used: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """How many keys the node has, with those that are being made or placed there."""
        known = Keys.of(self.keys).by(ID)
        return len(self.keys) + sum(intent.key_id not in known for intent in self.intents)

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
        known = tuple(keys.by(SHORT_ID) for keys in (Keys.of(self.keys), self.everywhere))
        return Taken(known, {pad_short_id(one.short_id) for one in self.intents})

    @property
    def taken_names(self) -> Taken:
        """What no new key may have for its id or UUID, as a key is found by either.

        The ids and UUIDs of keys and intents, the ids of stops, and the UUIDs of stops that are not confirmed.
        """
        known = tuple(keys.by(what) for keys in (Keys.of(self.keys), self.everywhere) for what in (ID, UUID, ACCOUNT))
        pending = {stop.uuid for stop in self.stops if not stop.is_confirmed}
        stopped = {stop.key_id for stop in self.stops}
        return Taken(known, {name for one in self.intents for name in (one.key_id, one.uuid)} | pending | stopped)

    def new_uuid(self, taken: Container[str]) -> str:
        """Return a random UUID (version 4) that is not taken."""
        while (new := str(uuid.UUID(int=self.chance.getrandbits(128), version=4))) in taken:
            pass
        return new

    def find(self, id_or_uuid: str) -> Key:
        """Return the key with this id or UUID. Raises what `find` of `domain.key` does."""
        return find(self.keys, id_or_uuid)

    def id_to_stop(self, id_or_uuid: str) -> str:
        """Return the id of a key that exists, or whose deletion was not answered yet. Raises as `find` does."""
        try:
            return self.find(id_or_uuid).id
        except KeyNotFound:
            spellings = spelled(id_or_uuid)
            for stop in self.stops:
                if spellings & {stop.key_id, stop.uuid}:
                    return stop.key_id
            raise

    def stopping_here(self, key_ids: Iterable[str]) -> KeyChanges:
        """Return the decision to ask the node again to stop those of these keys that it does not have any more."""
        here = Keys.of(self.keys).by(ID)
        return KeyChanges(delete=tuple(one for one in key_ids if one not in here))

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
        first, now = self.first_used, self.now
        return tuple(
            replace(key, limits=key.limits.begun(first.get(key.account, now))) if used.get(key.account) else key
            for key in keys
        )
