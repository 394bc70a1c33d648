"""Stops that are not over yet: not written, not confirmed by the node, or not heard of by their clients."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from vpnkeys.domain.change import KeyChanges, Stop
from vpnkeys.domain.key import Key
from vpnkeys.interfaces import Store, Transaction
from vpnkeys.service.change.rows import write_keys


@dataclass(slots=True)
class PendingStops:
    """Keeps in memory what differs from the table of stops: those it could not take, and those it need not keep.

    A stop that the database does not take holds all the same. One that a client has heard of is forgotten at once;
    its row goes with the next change, so that a delete need not wait for a second commit.
    """

    store: Store
    _unwritten: KeyChanges = field(default_factory=KeyChanges, init=False)
    _unwritten_stops: tuple[Stop, ...] = field(default=(), init=False)
    _heard: frozenset[str] = field(default=frozenset(), init=False)

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, oldest first: as in the database, but for stops that it did not take."""
        return self._unwritten.applied_to(self.store.keys())

    def all(self) -> tuple[Stop, ...]:
        """Return the stops that are not over."""
        return tuple(stop for stop in (*self.store.stops(), *self._unwritten_stops) if stop.key_id not in self._heard)

    def unconfirmed(self) -> tuple[Stop, ...]:
        """Return those that the node has not confirmed."""
        return tuple(stop for stop in self.all() if not stop.is_confirmed)

    @property
    def are_unwritten(self) -> bool:
        """Whether there are stops that the database has not taken."""
        return bool(self._unwritten)

    def keep(self, changes: KeyChanges, stops: Iterable[Stop]) -> None:
        """Let stops hold that the database did not take."""
        named = changes.named
        update = (*(key for key in self._unwritten.update if key.id not in named), *changes.update)
        self._unwritten = KeyChanges(update=update, delete=(*self._unwritten.delete, *changes.delete))
        self._unwritten_stops += tuple(stops)
        self._heard -= named

    def forget(self, key_ids: Iterable[str]) -> None:
        """Forget stops that are true and whose clients have heard so."""
        self._heard |= {*key_ids}

    def write(self, transaction: Transaction) -> None:
        """Bring the table up to date; `have_been_written` follows the commit."""
        transaction.drop_stops(self._heard)
        write_keys(transaction, self._unwritten)
        transaction.put_stops(self._unwritten_stops)

    def have_been_written(self) -> None:
        """The table is up to date."""
        self._unwritten, self._unwritten_stops, self._heard = KeyChanges(), (), frozenset()
