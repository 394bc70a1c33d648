"""Stores which of several servers does what only one may do."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from vpnkeys.interfaces import Holder
from vpnkeys.store.sql.nodes.tables import leases


@dataclass(frozen=True, slots=True)
class SqlLeases:
    """Implements `interfaces.Leases` on one connection."""

    _connection: Connection

    def holder(self, name: str) -> Holder | None:
        """Return who has a lease."""
        found = self._connection.execute(select(leases.c.owner, leases.c.beat).where(leases.c.name == name)).first()
        return None if found is None else Holder(*found)

    def put(self, name: str, owner: str) -> None:
        """Let an owner have a lease, with a new beat."""
        values = {"owner": owner, "beat": leases.c.beat + 1}
        if not self._connection.execute(update(leases).where(leases.c.name == name).values(values)).rowcount:
            self._connection.execute(insert(leases).values(name=name, owner=owner, beat=1))

    def drop(self, owner: str) -> None:
        """Take all leases from an owner."""
        self._connection.execute(delete(leases).where(leases.c.owner == owner))
