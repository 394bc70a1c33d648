"""Knows what each node elsewhere should have, and what its agent has confirmed."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from threading import Condition, RLock
from typing import Final

from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.interfaces import Store

_MARKS_KNOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node should have. `mark` names exactly these keys, `number` grows with each change of them.

    `revision` is that of the database when the node was first wanted to have this.
    """

    keys: Keys
    mark: str
    number: int
    revision: int
    since: float


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
    _known: dict[int, _Known] = field(default_factory=dict, init=False)
    _changed: Condition = field(default_factory=Condition, init=False)

    def wanted(self, node_id: int) -> Wanted:
        """Return what a node should have now. Raises StoreUnavailable."""
        revision, stored = self.store.revision(), Keys.of(self.store.keys()).by_node().get(node_id, Keys())
        with self._changed:
            known = self._of(node_id)
            keys = stored.changed((), known.placing.values()) if known.placing else stored
            was = known.wanted
            if was is not None and was.keys == keys:
                return was
            mark = mark_of(keys)
            if was is not None and was.mark == mark:
                number, revision, since = was.number, was.revision, was.since  # a name or a note
            else:
                number, since = (0 if was is None else was.number) + 1, self.monotonic()
            known.wanted = Wanted(keys, mark, number, revision, since)
            known.marks.append((mark, Confirmed(number, revision)))
            return known.wanted

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

    def confirm(self, node_id: int, mark: str, failed: Mapping[str, str]) -> None:
        """Note what a node has, by the mark of what it was wanted to have."""
        with self._changed:
            known = self._of(node_id)
            # The newest that has the mark: what is wanted may have come back to what it was.
            found = next((one for named, one in reversed(known.marks) if named == mark), None)
            if found is not None:
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

    def _of(self, node_id: int) -> _Known:
        return self._known.setdefault(node_id, _Known())


def mark_of(keys: Iterable[Key]) -> str:
    """Return what tells these keys, as a node has them, from all others: names and notes do not count."""
    told = [
        (key.id, key.uuid, key.account, key.is_active, key.port, key.short_id, key.sni, key.flow, key.limits)
        for key in keys
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]
