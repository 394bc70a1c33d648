"""Knows what each node elsewhere should have, and what its agent has confirmed."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Condition, RLock
from typing import Final, NamedTuple

from vpnkeys.domain.change import KeptAnswer, Snapshot
from vpnkeys.domain.errors import KeysChangedMeanwhile, StoreUnavailable
from vpnkeys.domain.key import Key, Keys, windows_of
from vpnkeys.domain.making.placing import Placing, places_of
from vpnkeys.domain.nodes import LOCAL, Confirmed, NodeRef, Sighting
from vpnkeys.interfaces import BRIEFLY_S, ForNodes, Store, Transaction
from vpnkeys.service.nodes.conflicts import MEANWHILE, refuse_conflict, refuse_known
from vpnkeys.service.nodes.wanted import Wanted, leaving, mark_of
from vpnkeys.worker import NEVER

_log = logging.getLogger(__name__)

_REST_S: Final = 10.0
_TAKEN_FOR_S: Final = 60.0


class Used(NamedTuple):
    """The bytes that a key has used since its window began, on all nodes; None: since it was made."""

    bytes: int
    since: datetime | None


@dataclass(slots=True)
class _Known:
    """What the board knows of one node. `is_first`: what it wants is what it wanted at this process's first look."""

    wanted: Wanted | None = None
    is_first: bool = True
    confirmed: Confirmed | None = None
    taken: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class Board:
    """Compares what nodes should have with what they confirm, and lets those wait who asked for a change.

    Keys that are being placed are in a table of their own: until their node has confirmed them they are wanted there
    alone. So every control plane tells the same to agents; what one that died has left there is taken back.
    """

    store: Store
    monotonic: Callable[[], float] = time.monotonic
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    """Names this process among all that place keys."""
    deciding: RLock = field(default_factory=RLock, init=False)
    """Held while a change of keys elsewhere is decided on and stored, and never while an agent is waited for."""
    on_news: Callable[[int], None] = field(default=lambda _node_id: None, init=False)
    """Called with the id of a node for which there may be something new."""
    on_made: Callable[[], object] = field(default=lambda: None, init=False)
    """Called when a node was made: what sleeps while there is no other node has to look again."""
    _known: dict[int, _Known] = field(default_factory=dict, init=False)
    _mine: set[tuple[str, int]] = field(default_factory=set, init=False)
    _changed: Condition = field(default_factory=Condition, init=False)
    _awaited: Counter[int] = field(default_factory=Counter, init=False)
    _looked_at: int = field(default=-1, init=False)
    _marks: Mapping[int, str] = field(default_factory=dict, init=False)
    """What each node should have had at the last look."""

    def has_others(self) -> bool:
        """Return whether there is a node besides the built-in one. Raises StoreUnavailable."""
        return any(record.ref.id != LOCAL.id for record in self.store.nodes())

    @property
    def rest_s(self) -> float:
        """How long to rest while there is none: until one is made here; another server of a database may make one."""
        return _REST_S if self.store.is_remote else NEVER

    def wanted(self, node_id: int) -> Wanted:
        """Return what a node should have now. Raises StoreUnavailable."""
        with self._changed:
            before = self._of(node_id).wanted
        return self._wanted_of(node_id, self.store.for_nodes(), before)

    def _wanted_of(self, node_id: int, now: ForNodes, before: Wanted | None) -> Wanted:
        """Return what a node should have by a look at the database that began when it should have had `before`."""
        every = Keys.of(now.keys)
        more = leaving(node_id, every, now.stops) | {
            one.key.id: one.key for one in now.placings if one.key.node.id == node_id
        }
        stored = every.by_node().get(node_id, Keys())
        keys = stored.changed((), more.values()) if more else stored
        with self._changed:
            known = self._of(node_id)
            was = known.wanted
            if was is not None and was is not before and was.looked > now.revision:
                return was  # another thread has looked since; where none has, the database was put back
            if was is not None and was.keys == keys:
                known.wanted = was.again(keys, now.revision)
                return known.wanted
            mark = mark_of(keys)
            if was is not None and was.mark == mark:  # a name or a note
                known.wanted = was.again(keys, now.revision)
            else:
                known.is_first = was is None
                known.wanted = Wanted(keys, mark, now.revision, now.revision, self.monotonic())
                self._begin_earlier(known)
            return known.wanted

    def used(self, keys: Iterable[Key], now: datetime) -> dict[str, Used]:
        """Return what is known of the traffic of keys that have a limit of it, by account. Raises StoreUnavailable."""
        since = windows_of((key for key in keys if key.limits.traffic_bytes is not None), now)
        used = self.store.used_bytes(since) if since else {}
        return {account: Used(used.get(account, 0), at) for account, at in since.items()}

    def place(
        self, node_id: int, keys: Collection[Key], decided: Snapshot | None = None, answer: KeptAnswer | None = None
    ) -> Wanted:
        """Want keys on a node that the database does not have so, or not yet; return what the node should have now.

        Raises KeysChangedMeanwhile when the node's keys are not those of `decided`, the snapshot that this follows
        from, when one of the keys is being placed already, or a request with this Idempotency-Key was answered or is
        carried out; and StoreUnavailable.
        """
        if keys:
            places = places_of(keys)
            with self._changed:
                if places & self._mine:
                    raise KeysChangedMeanwhile(MEANWHILE)
                self._mine |= places
            try:
                # Not durable: nothing is lost with it.
                with self.store.write(durable=False) as transaction:
                    if left := refuse_conflict(transaction, node_id, keys, decided):
                        transaction.nodes.drop_placings(left)
                    refuse_known(transaction, answer)
                    hashed = "" if answer is None else answer.key_hash
                    transaction.nodes.place(Placing(key, self._owner_at(node_id), hashed) for key in keys)
            except BaseException:
                self.have_placed(keys)
                raise
        try:
            wanted = self.wanted(node_id)
        except BaseException:
            self.withdraw(node_id, keys)
            raise
        self.on_news(node_id)
        return wanted

    def take(self, transaction: Transaction, node_id: int, keys: Collection[Key]) -> None:
        """Stop placing keys, as this transaction stores them. Raises KeysChangedMeanwhile when they were taken back."""
        ids = {key.id for key in keys}
        if ids and transaction.nodes.drop_placings(ids, self._owner_at(node_id)) != len(ids):
            raise KeysChangedMeanwhile(MEANWHILE)

    def withdraw(self, node_id: int, keys: Iterable[Key]) -> None:
        """Want those of these keys as the database has them that are still being placed.

        Where the database does not take that, they are taken back later (`service/nodes/leftover.py`).
        """
        with self._changed:
            gone = [key for key in keys if (key.id, node_id) in self._mine]
        if not gone:
            return
        try:
            with self.store.write(durable=False, patience_s=BRIEFLY_S) as transaction:
                transaction.nodes.drop_placings({key.id for key in gone}, self._owner_at(node_id))
        except StoreUnavailable as error:
            _log.warning("%d keys that were not placed are taken back later: %s", len(gone), error)
        finally:
            self.have_placed(gone)
        self.on_news(node_id)

    def have_placed(self, keys: Iterable[Key]) -> None:
        """Note that keys are not being placed any more by this process."""
        with self._changed:
            self._mine -= places_of(keys)

    def is_placing(self, placing: Placing) -> bool:
        """Return whether this process waits for the node of a key that is being placed."""
        with self._changed:
            return self.is_ours(placing.owner) and not self._mine.isdisjoint(places_of([placing.key]))

    def is_ours(self, owner: str) -> bool:
        """Return whether what has this owner was placed by this process."""
        return owner.startswith(self.owner)

    def _owner_at(self, node_id: int) -> str:
        """Return the owner of what this process places on a node: while a key moves, changes of it may meet."""
        return f"{self.owner}:{node_id}"

    def placing(self, node_id: int) -> tuple[Key, ...]:
        """Return the keys that are being placed on a node. Raises StoreUnavailable."""
        return tuple(one.key for one in self.store.for_nodes().placings if one.key.node.id == node_id)

    def taken_ports(self, node_id: int) -> frozenset[int]:
        """Return the ports of a node that another program had within the last minute, so that a key did not start."""
        since = self.monotonic() - _TAKEN_FOR_S
        with self._changed:
            return frozenset(port for port, at in self._of(node_id).taken.items() if at > since)

    def note_taken(self, node_id: int, port: int) -> None:
        """Note that another program has this port of a node now."""
        with self._changed:
            self._of(node_id).taken[port] = self.monotonic()

    def confirm(self, node_id: int, found: Confirmed) -> None:
        """Note what a node has confirmed, unless it has confirmed something newer."""
        with self._changed:
            known = self._of(node_id)
            was = known.confirmed
            # A database that was put back to what it was begins with earlier revisions again.
            is_put_back = was is not None and known.wanted is not None and was.revision > known.wanted.looked
            if was is None or found.revision >= was.revision or is_put_back:
                known.confirmed = found
                self._begin_earlier(known)
                self._changed.notify_all()

    def confirmed(self, node_id: int) -> Confirmed | None:
        """Return what a node has confirmed last; None when it never did. Raises StoreUnavailable.

        Ask for this before `wanted`: what is only stored yet may say that the same was wanted earlier.
        """
        with self._changed:
            found = self._of(node_id).confirmed
        if found is not None:
            return found
        return self._note_stored(node_id, self.store.sightings(node_id).get(node_id), self.store.revision())

    def wait_for(self, node_id: int, wanted: Wanted, most_s: float) -> Confirmed | None:
        """Return what the node confirms, as soon as it has this or what was wanted later; None after `most_s`."""
        self.confirmed(node_id)  # what is only stored yet

        def has_it() -> bool:
            known = self._of(node_id)
            later = known.wanted if known.wanted is not None and known.wanted.looked >= wanted.looked else wanted
            return wanted.is_had(known.confirmed) or later.is_had(known.confirmed)

        with self._changed:
            self._awaited[node_id] += 1
            try:
                return self._of(node_id).confirmed if self._changed.wait_for(has_it, most_s) else None
            finally:
                self._awaited[node_id] -= 1

    def is_awaited(self, node_id: int) -> bool:
        """Return whether a request waits here for what a node confirms."""
        return self._awaited[node_id] > 0

    def refresh(self) -> None:
        """Look at what other control planes have changed and heard, and wake all that wait. Raises StoreUnavailable."""
        seen, now = self.store.sightings(), self.store.for_nodes()
        for node_id, sighting in seen.items():
            if self._note_stored(node_id, sighting, now.revision) is None:  # another agent has joined
                with self._changed:
                    self._of(node_id).confirmed = None
        self.look(now)

    def look(self, now: ForNodes) -> None:
        """Wake the agents of nodes that should have something else than at the last look; without a change of none."""
        if now.revision == self._looked_at:
            return
        with self._changed:
            before = {node_id: known.wanted for node_id, known in self._known.items()}
        marks = {node_id: self._wanted_of(node_id, now, was).mark for node_id, was in before.items()}
        # What agents say of a database that was put back is not true any more, though they should have the same.
        is_put_back = now.revision < self._looked_at
        told, self._marks, self._looked_at = self._marks, marks, now.revision
        for node_id, mark in marks.items():
            if is_put_back or told.get(node_id) != mark:
                self.on_news(node_id)

    def forget(self, node: NodeRef) -> None:
        """Forget a node that was removed, or whose agent is another one now."""
        with self._changed:
            self._known.pop(node.id, None)
        self.on_news(node.id)

    def _note_stored(self, node_id: int, seen: Sighting | None, revision: int) -> Confirmed | None:
        """Note what is stored of what a node has confirmed, and return it; None where that is nothing.

        Revisions begin anew where a database was moved or restored: a later one than now is of the one before.
        """
        found = None if seen is None else seen.confirmed
        if found is None or found.revision > revision:
            return None
        self.confirm(node_id, found)
        return found

    @staticmethod
    def _begin_earlier(known: _Known) -> None:
        """Let what was wanted at the first look have been wanted since the node has confirmed it: nothing else was."""
        wanted, found = known.wanted, known.confirmed
        if known.is_first and wanted is not None and found is not None and found.mark == wanted.mark:
            known.wanted = replace(wanted, revision=min(wanted.revision, found.revision))

    def _of(self, node_id: int) -> _Known:
        return self._known.setdefault(node_id, _Known())
