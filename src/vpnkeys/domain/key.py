"""Keys. A key is one customer's access, with its own port, short id and server name."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Self, TypeVar

from vpnkeys.domain.errors import KeyAmbiguous, KeyNotFound
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status
from vpnkeys.domain.nodes import LOCAL, NodeRef
from vpnkeys.domain.reality import Fingerprint, pad_short_id

VISION = "xtls-rprx-vision"
KEY_TAG_PREFIX = "key-"
UNNUMBERED: Final = 2**31 - 1  # of a key that is not stored yet, which is newer than all that are


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the database holds it.

    `uuid` is the VLESS id. `first_uuid` is the one that the key was made with; empty unless it has another by now.
    `created_at` is UTC without an offset. `short_id` is hex: 16 digits for keys made here, fewer for some imported
    ones. `flow` is empty only where imported links lack Vision. `port_assigned_at` is None while the key still has its
    first port. `is_active` is the operator's switch; `limit_status` is the result of the last check of the key's
    limits. `fingerprint` is None where the key follows the server's setting. `node` is where it lives: `port` is unique
    there, and all else that tells keys apart everywhere. `number` is its place in the order in which keys were made,
    whatever the clock said; the store gives it.
    """

    id: str
    name: str
    uuid: str
    created_at: datetime
    is_active: bool
    port: int
    short_id: str
    sni: str
    flow: str = VISION
    port_assigned_at: datetime | None = None
    note: str = ""
    limits: Limits = NO_LIMITS
    limit_status: Status = Status.ACTIVE
    fingerprint: Fingerprint | None = None
    first_uuid: str = ""
    node: NodeRef = LOCAL
    number: int = field(default=UNNUMBERED, compare=False)

    @property
    def account(self) -> str:
        """The email of the key's counters in Xray, and the name of its traffic in the database: its first UUID.

        It stays when the key gets another UUID, so that counters go on and no byte is lost or counted twice.
        """
        return self.first_uuid or self.uuid

    @property
    def status(self) -> Status:
        """Whether the key works, and the reason if it does not: the operator's switch comes before the limits."""
        return self.limit_status if self.is_active else Status.DISABLED

    def with_status(self, status: Status) -> "Key":
        """Return the key after a check of its limits, itself where the result is the same."""
        return self if self.limit_status is status else replace(self, limit_status=status)

    @property
    def serves(self) -> bool:
        """Whether customers can connect with this key."""
        return self.status is Status.ACTIVE

    @property
    def whole_short_id(self) -> str:
        """The short id with all its digits, as Xray compares it: `ab` and `ab00` are one."""
        return pad_short_id(self.short_id)

    @property
    def tag(self) -> str:
        """The tag of this key's inbound in Xray, `key-<id>`."""
        return tag_of(self.id)


def tag_of(key_id: str) -> str:
    """Return the tag of the inbound in Xray of the key with this id."""
    return f"{KEY_TAG_PREFIX}{key_id}"


T = TypeVar("T")
_Found = Key | tuple[Key, ...]  # nearly always one, which takes less memory than a tuple of it

# What a key is looked for by. No two keys have the same one, but for short ids of imported keys.
ID: Final[Callable[[Key], str]] = attrgetter("id")
UUID: Final[Callable[[Key], str]] = attrgetter("uuid")
ACCOUNT: Final[Callable[[Key], str]] = attrgetter("account")
PORT: Final[Callable[[Key], int]] = attrgetter("port")
SHORT_ID: Final[Callable[[Key], str]] = attrgetter("whole_short_id")
_AGE: Final = attrgetter("number", "created_at", "id")


class Index(Mapping[T, Key]):
    """An index finds keys by their ids, their ports or the like; of several that have the same, the newest.

    It never changes: `changed` makes the next one, which shares what both have in common. Only what has changed of late
    is copied, and joins the rest once it is as much as the square root of all.
    """

    __slots__ = ("_late", "_rest", "_what")

    def __init__(self, what: Callable[[Key], T], rest: dict[T, _Found], late: dict[T, _Found]) -> None:
        self._what, self._rest, self._late = what, rest, late

    @classmethod
    def of(cls, what: Callable[[Key], T], keys: Iterable[Key]) -> "Index[T]":
        """Return the index of these keys, oldest first."""
        found: dict[T, _Found] = {}
        for key in keys:
            value = what(key)
            found[value] = (*_each(found[value]), key) if value in found else key
        return cls(what, found, {})

    def get(self, value: Any, default: Any = None) -> Any:  # noqa: ANN401 - as `Mapping` has it
        """Return the key that has this, else the default."""
        found = self._found(value)
        return (found[-1] if found else default) if isinstance(found, tuple) else found

    def __getitem__(self, value: T) -> Key:
        """Return the key that has this. Raises KeyError."""
        if (key := self.get(value)) is None:
            raise KeyError(value)
        found: Key = key
        return found

    def __contains__(self, value: object) -> bool:
        """Return whether a key has this."""
        return self.get(value) is not None

    def __iter__(self) -> Iterator[T]:
        """Return all that keys are found by."""
        return iter((self._rest | self._late).keys() - {value for value, found in self._late.items() if found == ()})

    def __len__(self) -> int:
        """Return by how many different ones keys are found."""
        return sum(1 for _ in self)

    def changed(self, gone: Iterable[Key], come: Iterable[Key]) -> "Index[T]":
        """Return the index without some of its keys, and with others."""
        new = Index(self._what, self._rest, self._late.copy())
        for key in gone:
            new._put(key, (other for other in new._with(key) if other is not key))
        for key in come:
            new._put(key, sorted((*new._with(key), key), key=_AGE))
        if len(new._late) ** 2 <= len(new._rest):
            return new
        joined = new._rest | new._late
        return Index(self._what, {value: found for value, found in joined.items() if found != ()}, {})

    def _found(self, value: T) -> _Found:
        found = self._late.get(value)
        return self._rest.get(value, ()) if found is None else found

    def _with(self, key: Key) -> tuple[Key, ...]:
        """Return the keys that have the same as this one."""
        return _each(self._found(self._what(key)))

    def _put(self, key: Key, keys: Iterable[Key]) -> None:
        """Note which keys have what this one has."""
        keys = tuple(keys)
        self._late[self._what(key)] = keys[0] if len(keys) == 1 else keys


def _each(found: _Found) -> tuple[Key, ...]:
    return found if isinstance(found, tuple) else (found,)


class Keys(tuple[Key, ...]):  # noqa: SLOT001 - a tuple takes no slots of its own
    """Keys, oldest first, each of which is found by its id, its port and the like without going through the others.

    What one change costs must not grow with the keys: of those that stay it copies the tuple, in a nanosecond a key.
    """

    _by: dict[Callable[[Key], Any], Index[Any]]
    _count: Counter[int] | None
    _of_nodes: "Mapping[int, Keys] | None"

    def __new__(cls, oldest_first: Iterable[Key] = ()) -> Self:
        """Return these keys; nothing has been looked for yet."""
        new = super().__new__(cls, oldest_first)
        new._by, new._count, new._of_nodes = {}, None, None
        return new

    @classmethod
    def of(cls, keys: Iterable[Key]) -> "Keys":
        """Return keys that stand in any order."""
        return keys if isinstance(keys, Keys) else cls(sorted(keys, key=_AGE))

    def by(self, what: Callable[[Key], T]) -> Index[T]:
        """Return all keys by their ids, ports or whatever they are looked for by."""
        if what not in self._by:
            self._by[what] = Index.of(what, self)
        return self._by[what]

    def among(self, ids: Iterable[str]) -> "Keys":
        """Return those of the keys that have these ids."""
        return self.those(ID, ids)

    def those(self, what: Callable[[Key], T], values: Iterable[T]) -> "Keys":
        """Return those that are found by these ids, accounts or the like."""
        known = self.by(what)
        return Keys.of(key for value in values if (key := known.get(value)) is not None)

    def has(self, key: Key) -> bool:
        """Return whether this very key is among them, as it is."""
        return self.by(ID).get(key.id) is key

    def on(self, node_id: int) -> "Keys":
        """Return those of the keys that live on a node: these keys themselves where all do."""
        return self if self._counted()[node_id] == len(self) else self.by_node().get(node_id, Keys())

    def by_node(self) -> "Mapping[int, Keys]":
        """Return the keys of each node that has any, by its id."""
        if self._of_nodes is None:
            parts: dict[int, list[Key]] = {}
            for key in self:
                parts.setdefault(key.node.id, []).append(key)
            self._of_nodes = {node_id: Keys(keys) for node_id, keys in parts.items()}
        return self._of_nodes

    def _counted(self) -> Counter[int]:
        if self._count is None:
            self._count = Counter(key.node.id for key in self)
        return self._count

    def changed(self, gone: Iterable[str], come: Iterable[Key]) -> "Keys":
        """Return the keys without those of the ids in `gone`, and with those in `come` in place of any of their ids."""
        come = tuple(come)
        left = self.among({*gone, *map(ID, come)})
        if not (left or come):
            return self
        keys = list(self)
        for key in left:
            del keys[bisect_left(keys, _AGE(key), key=_AGE)]
        for key in come:
            insort(keys, key, key=_AGE)
        changed = Keys(keys)
        if self._count is not None:  # carried on, as what one change costs must not grow with the keys
            changed._count = self._count - Counter(key.node.id for key in left) + Counter(key.node.id for key in come)
        changed._of_nodes = None if self._of_nodes is None else _changed_on(self._of_nodes, left, come)
        for what, known in tuple(self._by.items()):  # another thread may look for something new meanwhile
            changed._by[what] = known.changed(left, come)
        return changed


def _changed_on(of_nodes: Mapping[int, Keys], *changes: Iterable[Key]) -> Mapping[int, Keys]:
    """Return the keys of each node without the first of `changes` and with the second; of others the same objects."""
    # A node without a change keeps its object, by which a worker that follows it sees that nothing is to do.
    here: dict[int, tuple[list[Key], list[Key]]] = {}
    for way, keys in enumerate(changes):
        for key in keys:
            here.setdefault(key.node.id, ([], []))[way].append(key)
    now = {one: of_nodes.get(one, Keys()).changed(map(ID, gone), come) for one, (gone, come) in here.items()}
    return {one: keys for one, keys in {**of_nodes, **now}.items() if keys}


@dataclass(frozen=True, slots=True)
class Taken:
    """Tells what no new key may have: what those in the indices have, which is not copied, and `others`."""

    indices: tuple[Index[str], ...]
    others: set[str]

    def __contains__(self, value: object) -> bool:
        return value in self.others or any(value in index for index in self.indices)


def windows_of(keys: Iterable[Key], now: datetime) -> dict[str, datetime | None]:
    """Return when the present window of each key began, by account: see `Window.start`."""
    windows = {key.account: key.limits.traffic_window for key in keys}
    starts = {window: window.start(now) for window in {*windows.values()}}  # many keys have few kinds of them
    return {account: starts[window] for account, window in windows.items()}


_NONE: Final = "There is no key with this id or UUID; GET /api/keys lists those that are."
_AMBIGUOUS: Final = "This is the id of one key and the UUID of another; give that one a new UUID, by its own id."


def find(keys: Iterable[Key], id_or_uuid: str) -> Key:
    """Return the key with this id or UUID. Raises KeyNotFound, or KeyAmbiguous where two keys match."""
    keys = Keys.of(keys)
    spellings, known = spelled(id_or_uuid), (keys.by(ID), keys.by(UUID))
    found: dict[str, Key] = {key.id: key for index in known for one in spellings if (key := index.get(one)) is not None}
    if len(found) == 1:
        return found.popitem()[1]
    raise (KeyAmbiguous(_AMBIGUOUS) if found else KeyNotFound(_NONE))


def spelled(id_or_uuid: str) -> frozenset[str]:
    """Return how an id may be stored: as it was sent (imported ones have any case), and in lower case as UUIDs are."""
    return frozenset((id_or_uuid, id_or_uuid.lower()))
