"""Stores changes of keys; stops that the database does not take are held in memory and in a journal until it does."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Final

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, Arrival, Intent, KeyChanges, Stages, Stop
from vpnkeys.domain.errors import KeysChangedMeanwhile
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import EpochSample
from vpnkeys.interfaces import HeldStops, Holds, NoJournal, StopJournal, Store, Transaction
from vpnkeys.service.samples import UnstoredSamples

_AGAIN_AFTER_S: Final = (0.005, 0.05)
_LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC without an offset, as everywhere


def tried_again(change: Callable[[], KeyChanges], within_s: float, chance: Random) -> KeyChanges:
    """Return what `change` returns, and begin it again while another process changes the same keys meanwhile.

    Raises KeysChangedMeanwhile when it still does after `within_s` seconds.
    """
    ends_at = time.monotonic() + within_s
    while True:
        try:
            return change()
        except KeysChangedMeanwhile:
            if time.monotonic() >= ends_at:
                raise
        time.sleep(chance.uniform(*_AGAIN_AFTER_S))


def write_keys(transaction: Transaction, changes: KeyChanges) -> None:
    """Write changes of keys: deletions first, because ports are unique and a new key may get one of theirs.

    Raises KeysChangedMeanwhile for a key that comes from another node and is not as it was there.
    """
    if changes.delete:
        transaction.delete(*changes.delete)
    if changes.update:
        transaction.update(*changes.update)
    if changes.insert:
        transaction.insert(*changes.insert)
    if changes.come:
        _move(transaction, changes.come)
    for account, used in changes.used.items():
        transaction.ledger.count_elsewhere(account, *used)
    if changes.counted is not None:
        transaction.ledger.start_from(changes.counted)
    if changes.answer is not None:
        # Old answers are deleted by the next one that is stored, so that no job has to do it.
        transaction.forget(before=changes.answer.at - ANSWERS_KEPT_FOR)
        transaction.remember(changes.answer)


def _move(transaction: Transaction, come: tuple[Arrival, ...]) -> None:
    """Give keys their new places, and let the old ones stop: until that is confirmed, their ports stay reserved there.

    A row that moves keeps what was counted, and what is still to be reported of the old place joins it.
    """
    known = Keys.of(transaction.keys()).by(ID)
    if any(known.get(one.was.id) != one.was for one in come):
        msg = "A key was changed while it was being moved. Nothing was changed; try again."
        raise KeysChangedMeanwhile(msg)
    transaction.update(*(one.now for one in come))
    for one in come:
        transaction.drop_stops([one.now.id], one.now.node.id)
    transaction.put_stops(Stop(was.id, was.uuid, was.port, at, node_id=was.node.id) for was, _, at in come)


def require_place(transaction: Transaction, keys: Iterable[Key]) -> None:
    """Raise KeysChangedMeanwhile when a key has got a place on another node since its change was decided."""
    known = Keys.of(transaction.keys()).by(ID)
    if any((there := known.get(key.id)) is None or there.node.id != key.node.id for key in keys):
        msg = "A key was moved to another node at the same moment. Nothing was changed; try again."
        raise KeysChangedMeanwhile(msg)


def take_back_intents(transaction: Transaction) -> None:
    """Turn intents into stops: the node may have let clients in. An intent of a key that works is only dropped."""
    intents = transaction.own_intents()
    if not intents:
        return
    serving = {(key.id, key.node.id) for key in transaction.keys() if key.serves}  # noqa: SIM118 - not a dict
    transaction.drop_intents()
    transaction.put_stops(Stop.of(intent) for intent in intents if (intent.key_id, intent.node_id) not in serving)


def undone(stages: Stages) -> tuple[KeyChanges, tuple[Stop, ...]]:
    """Return what takes the starts of a change back, whether they were stored or not, and stops of those keys.

    The answer for a repetition of the request is forgotten with them.
    """
    changed, serving = {key.id for key in stages.last.update}, {key.id for key in stages.stopped if key.serves}
    changes = KeyChanges(
        update=tuple(key for key in stages.stopped if key.id in changed),
        delete=tuple(key.id for key in stages.last.insert),
        answer=stages.last.answer and replace(stages.last.answer, at=_LONG_AGO),
    )
    return changes, tuple(Stop.of(intent) for intent in stages.intents if intent.key_id not in serving)


@dataclass(slots=True)
class PendingStops:
    """Keeps in memory how the stops differ from their table: stops that it lacks, and stops that it still has.

    A stop that the database cannot store is in force all the same, and is in the journal too, with the samples that it
    is due to, so that the next server knows it (docs/adr/0016-one-road.md). A stop that was answered to its client is
    finished at once, and its row is deleted with the next change, so that a delete does not wait for a second commit.
    """

    store: Store
    journal: StopJournal = field(default_factory=NoJournal)
    samples: UnstoredSamples | None = None
    fresh: tuple[EpochSample, ...] = ()
    """Samples that stops of now are due to, and which are not kept in `samples` yet."""
    _unwritten: KeyChanges = field(default_factory=KeyChanges, init=False)
    _unwritten_stops: tuple[Stop, ...] = field(default=(), init=False)
    _answered: frozenset[str] = field(default=frozenset(), init=False)
    holds: Holds = field(default=Holds.UNTIL_EXIT, init=False)
    """How long the stops hold that are not stored."""

    def keys(self) -> Keys:
        """Return all keys, oldest first: those of the database, with the stops applied that it could not store."""
        return self._unwritten.applied_to(self.store.keys())

    def own_keys(self) -> Keys:
        """Return those of `keys` that live on the built-in node."""
        return self.keys().on(LOCAL.id)

    def known(self) -> tuple[Keys, tuple[Intent, ...], tuple[Stop, ...]]:
        """Return keys, intents, and stops that are not finished, of all nodes: see `Store.last_known`.

        Raises StoreUnavailable.
        """
        keys, intents, stored = self.store.last_known()
        # What the table lacks is newer than what it holds of the same key.
        stops = {(stop.key_id, stop.node_id): stop for stop in (*stored, *self._unwritten_stops)}
        answered = {(key_id, LOCAL.id) for key_id in self._answered}
        unfinished = tuple(stop for place, stop in stops.items() if place not in answered)
        return self._unwritten.applied_to(keys), intents, unfinished

    def last_keys(self) -> Keys:
        """Return those of the keys of `known` that live on the built-in node."""
        return self.known()[0].on(LOCAL.id)

    def unconfirmed(self) -> tuple[Stop, ...]:
        """Return the stops of `known` that the built-in node has not confirmed."""
        return tuple(stop for stop in self.known()[2] if not stop.is_confirmed and stop.node_id == LOCAL.id)

    @property
    def are_unwritten(self) -> bool:
        """Return whether there are stops that the database has not stored."""
        return bool(self._unwritten or self._unwritten_stops)

    def keep(self, changes: KeyChanges, stops: Iterable[Stop]) -> None:
        """Keep stops that the database did not store, in place of earlier ones of the same keys."""
        named = changes.named
        update = (*(key for key in self._unwritten.update if key.id not in named), *changes.update)
        delete, answer = (*self._unwritten.delete, *changes.delete), changes.answer or self._unwritten.answer
        unwritten = KeyChanges(update=update, delete=delete, answer=answer)
        kept = {stop.key_id: stop for stop in self._unwritten_stops}
        for stop in stops:
            # One a key, as in the table. An unconfirmed one stays, because the node has yet to confirm it.
            if stop.key_id not in kept or kept[stop.key_id].is_confirmed or not stop.is_confirmed:
                kept[stop.key_id] = stop
        unwritten_stops = tuple(kept.values())
        if unwritten or unwritten_stops:
            accounts = frozenset(key.account for key in unwritten.update)
            samples = () if self.samples is None else self.samples.of(accounts, self.fresh)
            # Before anybody can see the stops: what was shown must not be undone by the end of the server.
            self.holds = self.journal.keep(HeldStops(unwritten, unwritten_stops, samples))
        self._unwritten, self._unwritten_stops = unwritten, unwritten_stops
        self._answered -= named

    def take_up(self) -> None:
        """Hold the stops that an earlier server left in the journal. Raises StoreUnavailable.

        Those that the database has are left out: that server may have ended between its commit and clearing the
        journal, and a backup that was restored since has its own keys.
        """
        held = self.journal.read()
        if held is None:
            return
        stored = {key.id: key for key in self.store.keys()}  # noqa: SIM118 - not a dict
        update = tuple(key for key in held.changes.update if stored.get(key.id, key) != key)
        delete = tuple(key_id for key_id in held.changes.delete if key_id in stored)
        changes = KeyChanges(update=update, delete=delete)
        if not changes:
            self.journal.clear()
            return
        if self.samples is not None:
            for samples, at, has_ended in held.samples:
                self.samples.keep(samples, at, has_ended=has_ended)
        self.keep(changes, (stop for stop in held.stops if stop.key_id in changes.named))

    def forget(self, key_ids: Iterable[str]) -> None:
        """Forget stops that took effect and were answered to their clients."""
        self._answered |= {*key_ids}

    def write(self, transaction: Transaction) -> None:
        """Bring the table up to date. The caller calls `have_been_written` after the commit, which may still fail."""
        transaction.drop_stops(self._answered)
        write_keys(transaction, self._unwritten)
        transaction.put_stops(self._unwritten_stops)

    def have_been_written(self) -> None:
        """Note that the commit succeeded and the table is up to date."""
        if self.are_unwritten:
            self.journal.clear()
        self._unwritten, self._unwritten_stops, self._answered = KeyChanges(), (), frozenset()
