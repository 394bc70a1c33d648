"""Stores changes of keys; stops that the database does not take are kept in memory until it does."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, KeyChanges, Stop
from vpnkeys.domain.key import Key
from vpnkeys.interfaces import Store, Transaction


def write_keys(transaction: Transaction, changes: KeyChanges) -> None:
    """Write changes of keys: deletions first, because ports are unique and a new key may get one of theirs."""
    for key_id in changes.delete:
        transaction.delete(key_id)
    if changes.update:
        transaction.update(*changes.update)
    for key in changes.insert:
        transaction.insert(key)
    if changes.counted is not None:
        transaction.ledger.start_from(changes.counted)
    if changes.answer is not None:
        # Old answers are deleted by the next one that is stored, so that no job has to do it.
        transaction.forget(before=changes.answer.at - ANSWERS_KEPT_FOR)
        transaction.remember(changes.answer)


def take_back_intents(transaction: Transaction) -> None:
    """Turn intents into stops: the node may have let clients in. An intent of a key that works is only dropped."""
    intents = transaction.intents()
    if not intents:
        return
    serving = {key.id for key in transaction.keys() if key.serves}  # noqa: SIM118 - not a dict
    transaction.drop_intents()
    transaction.put_stops(Stop.of(intent) for intent in intents if intent.key_id not in serving)


@dataclass(slots=True)
class PendingStops:
    """Keeps in memory how the stops differ from their table: stops that it lacks, and stops that it still has.

    A stop that the database cannot store is in force all the same. A stop that was answered to its client is finished
    at once, and its row is deleted with the next change, so that a delete does not wait for a second commit.
    """

    store: Store
    _unwritten: KeyChanges = field(default_factory=KeyChanges, init=False)
    _unwritten_stops: tuple[Stop, ...] = field(default=(), init=False)
    _answered: frozenset[str] = field(default=frozenset(), init=False)

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, oldest first: those of the database, with the stops applied that it could not store."""
        return self._unwritten.applied_to(self.store.keys())

    def all(self) -> tuple[Stop, ...]:
        """Return the stops that are not finished."""
        # What the table lacks is newer than what it holds of the same key.
        stops = {stop.key_id: stop for stop in (*self.store.stops(), *self._unwritten_stops)}
        return tuple(stop for stop in stops.values() if stop.key_id not in self._answered)

    def unconfirmed(self) -> tuple[Stop, ...]:
        """Return the stops that the node has not confirmed."""
        return tuple(stop for stop in self.all() if not stop.is_confirmed)

    @property
    def are_unwritten(self) -> bool:
        """Return whether there are stops that the database has not stored."""
        return bool(self._unwritten or self._unwritten_stops)

    def keep(self, changes: KeyChanges, stops: Iterable[Stop]) -> None:
        """Keep stops that the database did not store, in place of earlier ones of the same keys."""
        named = changes.named
        update = (*(key for key in self._unwritten.update if key.id not in named), *changes.update)
        self._unwritten = KeyChanges(update=update, delete=(*self._unwritten.delete, *changes.delete))
        kept = {stop.key_id: stop for stop in self._unwritten_stops}
        for stop in stops:
            # One a key, as in the table. An unconfirmed one stays, because the node has yet to confirm it.
            if stop.key_id not in kept or kept[stop.key_id].is_confirmed or not stop.is_confirmed:
                kept[stop.key_id] = stop
        self._unwritten_stops = tuple(kept.values())
        self._answered -= named

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
        self._unwritten, self._unwritten_stops, self._answered = KeyChanges(), (), frozenset()
