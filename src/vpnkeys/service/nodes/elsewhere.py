"""Says on which nodes a new key can be, and by which road the keys of each node elsewhere change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vpnkeys.domain.key import Key, Keys, find, spelled
from vpnkeys.domain.nodes import LOCAL, NodeRecord, NodeWish, state_of
from vpnkeys.domain.portpool import PortRange
from vpnkeys.interfaces import Clock, Store
from vpnkeys.service.change.changer import Ending
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.far import FarRoad
from vpnkeys.service.nodes.placement import Candidate, choose

_NO_PORTS = PortRange(1, 0)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Knows the nodes besides the built-in one. `pool` are the ports of that one."""

    board: Board
    clock: Clock
    ending: Ending
    pool: PortRange

    @property
    def store(self) -> Store:
        """Return the database."""
        return self.board.store

    def choose(self, wish: NodeWish) -> tuple[NodeRecord, ...]:
        """Return the nodes to try for a new key, best first. Raises what `placement.choose` raises."""
        seen, now = self.store.sightings(), self.clock.now()
        keys = Keys.of(self.store.keys()).by_node()
        candidates = {}
        for record in self.store.nodes():
            is_local = record.ref.id == LOCAL.id
            state = record.state if is_local else state_of(record, seen.get(record.ref.id), now)
            ports = self.pool if is_local else record.ports or _NO_PORTS
            candidates[record.ref.id] = Candidate(record, state, ports, len(keys.get(record.ref.id, ())))
        return choose(candidates, wish)

    def by_node(self, ids: Sequence[str], keys: Keys) -> Iterator[tuple[NodeRecord, Sequence[str]]]:
        """Yield ids of keys with the node on which they live, or where they are still to stop. Raises KeyNotFound."""
        stopping = {name: stop.node_id for stop in self.store.stops() for name in (stop.key_id, stop.uuid)}
        parts: dict[int, list[str]] = {}
        for one in ids:
            known = next((stopping[name] for name in spelled(one) if name in stopping), None)
            parts.setdefault(find(keys, one).node.id if known is None else known, []).append(one)
        records = {record.ref.id: record for record in self.store.nodes()}
        yield from ((records[node_id], its_ids) for node_id, its_ids in parts.items())

    def record_of(self, key: Key) -> NodeRecord:
        """Return the node of a key."""
        return next(record for record in self.store.nodes() if record.ref.id == key.node.id)

    def road(self, record: NodeRecord) -> FarRoad:
        """Return how keys of this node change."""
        return FarRoad(record, self.board, self.clock, self.ending)
