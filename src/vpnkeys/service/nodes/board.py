"""Knows what each node elsewhere should have, and what its agent has confirmed."""

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from threading import Condition, RLock
from typing import Final, NamedTuple

from vpnkeys.domain.change import Stop
from vpnkeys.domain.key import ID, Key, Keys, windows_of
from vpnkeys.domain.limits import Status
from vpnkeys.domain.nodes import LOCAL, NodeRef
from vpnkeys.interfaces import Store
from vpnkeys.worker import NEVER

_MARKS_KNOWN: Final = 20
_REST_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node should have. `mark` names exactly these keys, `number` grows with each change of them.

    `ticket` is the number with what tells this server's life from others. `revision` is that of the database when the
    node was first wanted to have this.
    """

    keys: Keys
    mark: str
    number: int
    revision: int
    since: float
    ticket: str


class Used(NamedTuple):
    """The bytes that a key has used since its window began, on all nodes; None: since it was made."""

    bytes: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What an agent has said that its node has; `failed` has a code for each key that did not start."""

    number: int
    revision: int
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    """What the board knows of one node; `marks` are those of what it should have and had to have, oldest first."""

    wanted: Wanted | None = None
    placing: dict[str, Key] = field(default_factory=dict)
    confirmed: Confirmed | None = None
    marks: deque[tuple[str, Confirmed]] = field(default_factory=lambda: deque(maxlen=_MARKS_KNOWN))
    taken: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Board:
    """Compares what nodes should have with what they confirm, and lets those wait who asked for a change.

    Keys that are being placed are in no table: until their node has confirmed them they are wanted here alone, so that
    a server that ends meanwhile leaves nothing to be undone: what it wants next is without them.
    """

    store: Store
    monotonic: Callable[[], float] = time.monotonic
    deciding: RLock = field(default_factory=RLock, init=False)
    """Held while a change of keys elsewhere is decided on and stored, and never while an agent is waited for."""
    on_news: Callable[[int], None] = field(default=lambda _node_id: None, init=False)
    """Called with the id of a node for which there may be something new."""
    on_made: Callable[[], object] = field(default=lambda: None, init=False)
    """Called when a node was made: what sleeps while there is no other node has to look again."""
    _life: str = field(default_factory=lambda: secrets.token_hex(4), init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    _known: dict[int, _Known] = field(default_factory=dict, init=False)
    _changed: Condition = field(default_factory=Condition, init=False)

    def has_others(self) -> bool:
        """Return whether there is a node besides the built-in one. Raises StoreUnavailable."""
        return any(record.ref.id != LOCAL.id for record in self.store.nodes())

    @property
    def rest_s(self) -> float:
        """How long to rest while there is none: until one is made here; another server of a database may make one."""
        return _REST_S if self.store.is_remote else NEVER

    def wanted(self, node_id: int) -> Wanted:
        """Return what a node should have now. Raises StoreUnavailable."""
        revision, every = self.store.revision(), Keys.of(self.store.keys())
        stored, leaving = every.by_node().get(node_id, Keys()), _leaving(node_id, every, self.store.stops())
        with self._changed:
            known = self._of(node_id)
            more = {**leaving, **known.placing}
            keys = stored.changed((), more.values()) if more else stored
            was = known.wanted
            if was is not None and was.keys == keys:
                return was
            mark = mark_of(keys)
            if was is not None and was.mark == mark:
                number, revision, since = was.number, was.revision, was.since  # a name or a note
            else:
                number, since = next(self._numbers), self.monotonic()
            known.wanted = Wanted(keys, mark, number, revision, since, f"{self._life}.{number}")
            known.marks.append((mark, Confirmed(number, revision)))
            return known.wanted

    def used(self, keys: Iterable[Key], now: datetime) -> dict[str, Used]:
        """Return what is known of the traffic of keys that have a limit of it, by account. Raises StoreUnavailable."""
        since = windows_of((key for key in keys if key.limits.traffic_bytes is not None), now)
        used = self.store.used_bytes(since) if since else {}
        return {account: Used(used.get(account, 0), at) for account, at in since.items()}

    def place(self, node_id: int, keys: Collection[Key]) -> Wanted:
        """Want keys on a node that the database does not have so, or not yet; return what the node should have now.

        Raises StoreUnavailable.
        """
        with self._changed:
            self._of(node_id).placing.update((key.id, key) for key in keys)
        try:
            wanted = self.wanted(node_id)
        except BaseException:
            self.withdraw(node_id, keys)
            raise
        self.on_news(node_id)
        return wanted

    def withdraw(self, node_id: int, keys: Iterable[Key]) -> None:
        """Want these keys as the database has them."""
        with self._changed:
            for key in keys:
                self._of(node_id).placing.pop(key.id, None)
        self.on_news(node_id)

    def placing(self, node_id: int) -> tuple[Key, ...]:
        """Return the keys that are being placed on a node."""
        with self._changed:
            return tuple(self._of(node_id).placing.values())

    def is_taken(self, node_id: int, port: int) -> bool:
        """Return whether a key did not start on this port of a node, because another program has it."""
        with self._changed:
            return port in self._of(node_id).taken

    def note_taken(self, node_id: int, port: int) -> None:
        """Note that another program has this port of a node."""
        with self._changed:
            self._of(node_id).taken.add(port)

    def confirm(self, node_id: int, mark: str, failed: Mapping[str, str], ticket: str = "") -> None:
        """Note what a node has, by the mark of what it was wanted to have, and the newest ticket that its agent knew.

        What is wanted may have come back to what it was. What was said before that says nothing of now, however late
        it comes in: the node may have had something else meanwhile. An empty ticket is of an agent that has none.
        """
        with self._changed:
            known, newest = self._of(node_id), self._number_in(ticket)
            fitting = (one for named, one in reversed(known.marks) if named == mark)
            found = next((one for one in fitting if newest is None or one.number <= newest), None)
            was = known.confirmed
            if found is not None and (newest is None or was is None or was.number <= found.number):
                known.confirmed = replace(found, failed=failed)
                self._changed.notify_all()

    def confirmed(self, node_id: int) -> Confirmed | None:
        """Return what a node has confirmed last; None when nothing is known since the start of the server."""
        with self._changed:
            return self._of(node_id).confirmed

    def wait_for(self, node_id: int, wanted: Wanted, most_s: float) -> Confirmed | None:
        """Return what the node confirms, as soon as it has this or what was wanted later; None after `most_s`."""

        def has_it() -> bool:
            found = self._of(node_id).confirmed
            return found is not None and found.number >= wanted.number

        with self._changed:
            return self._of(node_id).confirmed if self._changed.wait_for(has_it, most_s) else None

    def forget(self, node: NodeRef) -> None:
        """Forget a node that was removed, or whose agent is another one now."""
        with self._changed:
            self._known.pop(node.id, None)

    def _number_in(self, ticket: str) -> int | None:
        """Return the number in a ticket, 0 for one of another life of this server; None for an empty one."""
        life, _, number = ticket.partition(".")
        if not ticket:
            return None
        return int(number) if life == self._life and number.isascii() and number.isdecimal() else 0

    def _of(self, node_id: int) -> _Known:
        return self._known.setdefault(node_id, _Known())


def _leaving(node_id: int, keys: Keys, stops: Iterable[Stop]) -> dict[str, Key]:
    """Return keys that live elsewhere now, as their former node has to have them, by id: stopped.

    They are not gone there before that node has said what it has counted of them, and nothing of their present links
    is said there.
    """
    former = ((keys.by(ID).get(stop.key_id), stop) for stop in stops if stop.node_id == node_id)
    return {
        key.id: Key(
            id=key.id,
            name=key.id,
            uuid=key.account,
            created_at=key.created_at,
            is_active=False,
            port=stop.port,
            short_id=hashlib.sha256(key.id.encode()).hexdigest()[:16],
            sni=key.sni,
            flow=key.flow,
        )
        for key, stop in former
        if key is not None and key.node.id != node_id and not stop.is_confirmed
    }


def mark_of(keys: Iterable[Key]) -> str:
    """Return what tells these keys, as a node has them, from all others: names and notes do not count.

    That the traffic of one is used up here does: the node may not know of all that was counted elsewhere.
    """
    told = [
        (key.id, key.uuid, key.account, key.is_active, key.port, key.short_id, key.sni, key.flow, key.limits)
        + (("used up",) if key.limit_status is Status.LIMITED else ())
        for key in keys
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]
