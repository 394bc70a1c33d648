"""Declares the protocol by which several servers on one database agree who does what."""

from typing import NamedTuple, Protocol


class Holder(NamedTuple):
    """Who has a lease, and a number that changes whenever the owner says that it still works."""

    owner: str
    beat: int


class Leases(Protocol):
    """Stores leases, inside a write transaction. They know no time: whether one is old, each server sees by itself."""

    def holder(self, name: str) -> Holder | None:
        """Return who has a lease; None when nobody has."""
        ...

    def put(self, name: str, owner: str) -> None:
        """Let an owner have a lease, with a new beat."""
        ...

    def drop(self, owner: str) -> None:
        """Take all leases from this owner."""
        ...
