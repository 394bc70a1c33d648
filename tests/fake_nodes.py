"""What a FakeStore keeps of nodes."""

from dataclasses import dataclass, replace
from datetime import datetime

from tests.fake_ledger import Tables
from vpnkeys.domain.nodes import Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door


@dataclass(frozen=True, slots=True)
class FakeNodes:
    """The nodes of these tables."""

    tables: Tables

    def add(self, node: NodeRecord) -> NodeRecord:
        """With the next id. Raises ValueError when the name is not new."""
        if any(one.ref.name == node.ref.name for one in self.tables.nodes):
            raise ValueError(f"not new: {node}")
        self.tables.last_node += 1
        self.tables.nodes.append(replace(node, ref=node.ref._replace(id=self.tables.last_node)))
        return self.tables.nodes[-1]

    def put(self, node: NodeRecord) -> None:
        """Its keys know it by its new name."""
        self.tables.nodes = [node if one.ref.id == node.ref.id else one for one in self.tables.nodes]
        for key in [key for key in self.tables.keys.values() if key.node.id == node.ref.id]:
            self.tables.keys[key.id] = replace(key, node=node.ref)

    def remove(self, node_id: int) -> None:
        """Raises ValueError when it has keys."""
        if any(key.node.id == node_id for key in self.tables.keys.values()):
            raise ValueError("it has keys")
        self.tables.nodes = [one for one in self.tables.nodes if one.ref.id != node_id]
        self.tables.joins = {name: join for name, join in self.tables.joins.items() if join.node_id != node_id}
        self.tables.sightings.pop(node_id, None)

    def put_join(self, join: Join) -> None:
        """The only one of its node that can be used."""
        for digest, other in self.tables.joins.items():
            if other.node_id == join.node_id:
                self.tables.joins[digest] = replace(other, expires_at=datetime.min)  # noqa: DTZ901 - long ago
        self.tables.joins[join.digest] = join

    def take_join(self, digest: str, at: datetime) -> int | None:
        """Once."""
        join = self.tables.joins.get(digest)
        if join is None or join.expires_at <= at:
            return None
        self.tables.joins[digest] = replace(join, expires_at=at)  # used
        return join.node_id

    def put_sighting(self, node_id: int, sighting: Sighting) -> None:
        """The last one."""
        self.tables.sightings[node_id] = sighting

    def put_door(self, door: Door) -> None:
        """By its tag."""
        self.tables.doors[door.tag] = door

    def remove_door(self, tag: str) -> None:
        """If there is one."""
        self.tables.doors.pop(tag, None)
