"""Lets one of several servers on a database do what only one may do."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.interfaces import BRIEFLY_S, Holder, Store

TAKEN_OVER_AFTER_S: Final = 10.0
_HELD_FOR_S: Final = 7.0
"""Less than that: an owner stops before another one begins, also when it is slow."""
_SAID_EVERY_S: Final = 3.0
_PATIENCE_S: Final = 1.0

Turn = Callable[[], bool]
"""Returns whether this process may take the next step of some work. Raises Unavailable."""


def always() -> bool:
    """Return that it may, for a server alone."""
    return True


@dataclass(slots=True)
class Lease:
    """Is had by the server that has said last that it works, until it has been silent for ten seconds.

    How long that is each server measures by its own clock, from when it saw the last beat: clocks may differ. Where the
    database is this process's own, it always has its leases. One thread uses it.
    """

    name: str
    store: Store
    owner: str
    now: Callable[[], float] = time.monotonic
    _held_until: float = field(default=float("-inf"), init=False)
    _ask_at: float = field(default=float("-inf"), init=False)
    _seen: Holder | None = field(default=None, init=False)
    _seen_at: float = field(default=0.0, init=False)

    def is_mine(self) -> bool:
        """Return whether this process has it now. Raises Unavailable."""
        if not self.store.is_remote:
            return True
        began = self.now()
        if began >= self._ask_at:
            self._ask_at = began + _SAID_EVERY_S
            if self._ask(began):
                self._held_until = began + _HELD_FOR_S  # from before the commit, which may have taken long
        return self.now() < self._held_until

    def _ask(self, now: float) -> bool:
        """Take it, or say that this process still has it, where that is so."""
        with self.store.write(durable=False, patience_s=_PATIENCE_S) as transaction:
            found = transaction.leases.holder(self.name)
            if found != self._seen:
                self._seen, self._seen_at = found, now
            is_free = found is None or found.owner == self.owner or now - self._seen_at >= TAKEN_OVER_AFTER_S
            if is_free:
                transaction.leases.put(self.name, self.owner)
        return is_free


def release_all(store: Store, owner: str) -> None:
    """Let other servers have all leases of one that ends at once. A database that does not answer is no matter."""
    if store.is_remote:
        with suppress(Unavailable), store.write(durable=False, patience_s=BRIEFLY_S) as transaction:
            transaction.leases.drop(owner)
