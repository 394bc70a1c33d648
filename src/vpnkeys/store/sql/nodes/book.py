"""Stores nodes inside a transaction, and reads how they were seen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from vpnkeys.domain.nodes import Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.store.sql.nodes.tables import doors, joins, nodes, sightings
from vpnkeys.store.sql.rows import door_row, node_row


@dataclass(frozen=True, slots=True)
class SqlNodes:
    """Implements `interfaces.NodeBook` on one connection."""

    _connection: Connection

    def add(self, node: NodeRecord) -> NodeRecord:
        """Add a node and return it with its id."""
        number = self._connection.execute(insert(nodes).values(node_row(node)).returning(nodes.c.id)).scalar_one()
        return replace(node, ref=node.ref._replace(id=number))

    def put(self, node: NodeRecord) -> None:
        """Change the node with this one's id."""
        self._connection.execute(update(nodes).where(nodes.c.id == node.ref.id).values(node_row(node)))

    def remove(self, node_id: int) -> None:
        """Remove a node that has no keys."""
        self._connection.execute(delete(nodes).where(nodes.c.id == node_id))

    def put_join(self, join: Join) -> None:
        """Let an agent join, by this alone: earlier joins of the node that were not used are void."""
        unused = (joins.c.node_id == join.node_id) & joins.c.used_at.is_(None)
        self._connection.execute(update(joins).where(unused).values(used_at=joins.c.expires_at))
        self._connection.execute(insert(joins).values(asdict(join)))

    def take_join(self, digest: str, at: datetime) -> int | None:
        """Use a join up and return the id of its node."""
        usable = (joins.c.digest == digest) & joins.c.used_at.is_(None) & (joins.c.expires_at > at)
        return self._connection.execute(
            update(joins).where(usable).values(used_at=at).returning(joins.c.node_id)
        ).scalar()

    def put_sighting(self, node_id: int, sighting: Sighting) -> None:
        """Store how a node was last seen."""
        row = asdict(sighting) | {"names": ",".join(sighting.names)}
        here = sightings.c.node_id == node_id
        if not self._connection.execute(update(sightings).where(here).values(row)).rowcount:
            self._connection.execute(insert(sightings).values(node_id=node_id, **row))

    def put_door(self, door: Door) -> None:
        """Add a door, or replace the one with its tag."""
        self.remove_door(door.tag)
        self._connection.execute(insert(doors).values(door_row(door)))

    def remove_door(self, tag: str) -> None:
        """Remove a door, if there is one with this tag."""
        self._connection.execute(delete(doors).where(doors.c.tag == tag))


def knows_join(connection: Connection, digest: str) -> bool:
    """Return whether there was ever a join with this digest."""
    return connection.execute(select(joins.c.node_id).where(joins.c.digest == digest)).first() is not None


def read_sightings(connection: Connection, node_id: int | None) -> Mapping[int, Sighting]:
    """Return how nodes were last seen, by id; None: all of them."""
    wanted = select(sightings)
    if node_id is not None:
        wanted = wanted.where(sightings.c.node_id == node_id)
    return {
        number: Sighting(at, version, xray_version, tuple(filter(None, names.split(","))))
        for number, at, version, xray_version, names in connection.execute(wanted)
    }
