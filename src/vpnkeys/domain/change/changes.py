"""The changes that a decision returns, and what is stored of a change while it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from vpnkeys.domain.key import ID, Key, Keys, tag_of
from vpnkeys.domain.nodes import LOCAL
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


class Arrival(NamedTuple):
    """A key that leaves its node for the one of the decision at this time: as it was there, and as it will be."""

    was: Key
    now: Key
    at: datetime


class UsedElsewhere(NamedTuple):
    """Bytes that other servers have counted of a key: of its total, or of the windows of `counts_at`.

    Of one alone: what is known of the other is said when a limit goes by that.
    """

    bytes: int
    counts_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """The changes that a decision returns. `update` holds complete keys, also with other ports; `delete` holds ids.

    `come` are keys of other nodes that get a place on this one. `counted` are the counters that Xray still has of
    deleted keys whose UUIDs the inserted keys have, `used` is by account.

    A key in `update` or `delete` that is already in that state changes nothing, but its earlier stop is confirmed.
    """

    insert: tuple[Key, ...] = ()
    update: tuple[Key, ...] = ()
    delete: tuple[str, ...] = ()
    answer: KeptAnswer | None = None
    counted: Samples | None = None
    come: tuple[Arrival, ...] = ()
    used: Mapping[str, UsedElsewhere] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.insert or self.update or self.delete or self.come or self.used)

    @property
    def new(self) -> tuple[Key, ...]:
        """The keys that the node has not had before."""
        return (*self.insert, *(one.now for one in self.come)) if self.come else self.insert

    @property
    def named(self) -> frozenset[str]:
        """The ids of all keys in this change."""
        return frozenset((*(key.id for key in (*self.new, *self.update)), *self.delete))

    def applied_to(self, keys: tuple[Key, ...]) -> Keys:
        """Return the keys after this change, oldest first."""
        if not self:  # asked for each answer
            return Keys.of(keys)
        stayed = Keys.of(keys).changed(self.delete, ())
        return stayed.changed((), (*(key for key in self.update if key.id in stayed.by(ID)), *self.new))
