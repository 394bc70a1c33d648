"""What a FakeStore keeps of nodes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tests.fake_ledger import Tables
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import NOBODY, Confirmed, Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.interfaces import Holder


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
        if join.node_id in self.tables.sightings:
            was = self.tables.sightings[join.node_id]
            self.tables.sightings[join.node_id] = replace(was, confirmed=None)
        return join.node_id

    def place(self, placings: Iterable[Placing]) -> None:
        """One a key. Raises ValueError when one is placed already."""
        for one in placings:
            if one.key.id in self.tables.placing:
                raise ValueError(f"not new: {one}")
            self.tables.placing[one.key.id] = one
            self.tables.revision += 1

    def placings(self) -> tuple[Placing, ...]:
        """All."""
        return tuple(self.tables.placing.values())

    def drop_placings(self, key_ids: Collection[str], owner: str | None = None) -> int:
        """If they are this owner's."""
        gone = [one for one in self.placings() if one.key.id in key_ids and owner in {None, one.owner}]
        for one in gone:
            del self.tables.placing[one.key.id]
            self.tables.revision += 1
        return len(gone)

    def is_known(self, answer_hash: str, since: datetime) -> bool:
        """Answered, or under way."""
        known = self.tables.answers.get(answer_hash)
        is_answered = known is not None and known.at >= since
        return is_answered or any(one.answer_hash == answer_hash for one in self.placings())

    def put_sighting(self, node_id: int, sighting: Sighting, online: Mapping[str, int] = NOBODY) -> None:
        """The last one; what was confirmed stays until something else is."""
        was = self.tables.sightings.get(node_id)
        confirmed = sighting.confirmed or (None if was is None else was.confirmed)
        is_silent = was is not None and was.is_silent
        self.tables.sightings[node_id] = replace(sighting, confirmed=confirmed, is_silent=is_silent)
        self.tables.online[node_id] = dict(online)

    def confirmed(self, node_id: int) -> Confirmed | None:
        """If it did."""
        was = self.tables.sightings.get(node_id)
        return None if was is None else was.confirmed

    def put_silent(self, node_id: int, *, is_silent: bool) -> None:
        """If it was seen."""
        if node_id in self.tables.sightings:
            self.tables.sightings[node_id] = replace(self.tables.sightings[node_id], is_silent=is_silent)

    def put_door(self, door: Door) -> None:
        """By its tag."""
        self.tables.doors[door.tag] = door

    def remove_door(self, tag: str) -> None:
        """If there is one."""
        self.tables.doors.pop(tag, None)


@dataclass(frozen=True, slots=True)
class FakeLeases:
    """The leases of these tables."""

    tables: Tables

    def holder(self, name: str) -> Holder | None:
        """If there is one."""
        return self.tables.leases.get(name)

    def put(self, name: str, owner: str) -> None:
        """With the next beat."""
        was = self.tables.leases.get(name)
        self.tables.leases[name] = Holder(owner, 1 if was is None else was.beat + 1)

    def drop(self, owner: str) -> None:
        """Those that are theirs."""
        self.tables.leases = {name: one for name, one in self.tables.leases.items() if one.owner != owner}
