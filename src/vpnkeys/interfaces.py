"""The promises between the rooms: whatever keeps them can stand in (the real thing, a remote one, a fake)."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.traffic import Samples


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """UTC, without an offset."""
        ...


class Transaction(Protocol):
    """A write transaction: nobody else writes meanwhile. Leaving it commits durably; an exception rolls it back."""

    def keys(self) -> tuple[Key, ...]:
        """All keys as this transaction sees them, oldest first."""
        ...

    def insert(self, key: Key) -> None:
        """Add a key. Its id, UUID, port and short id must be new."""
        ...

    def delete(self, key_id: str) -> None:
        """Remove a key. A missing one is no error."""
        ...


class Store(Protocol):
    """The database. Every method raises StoreUnavailable when it does not answer."""

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first, as last committed by anyone. Cheap enough to ask for each time."""
        ...

    def write(self) -> AbstractContextManager[Transaction]:
        """Begin a write transaction."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Node(Protocol):
    """One Xray and its config.json."""

    def observe(self) -> Observed:
        """What the file and the running Xray are at this moment."""
        ...

    def apply(self, plan: Plan) -> None:
        """Carry a plan out; safe to repeat after `observe`.

        Raises ConfigUnwritable or ConfigRefused before anything was changed, XrayUnavailable or XrayRefused when the
        running Xray did not follow.
        """
        ...

    def sample(self) -> Samples:
        """The cumulative counters. Never resets them. Raises XrayUnavailable."""
        ...

    def is_up(self) -> bool:
        """Whether the running Xray takes connections on its API."""
        ...

    def is_free(self, port: int) -> bool:
        """Whether nothing listens on this TCP port of the host."""
        ...

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """The server names through which a client gets in at once; waits up to `wait_s` for the first one."""
        ...
