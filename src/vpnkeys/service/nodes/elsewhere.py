"""Says on which nodes a new key can be, and by which road the keys of each node elsewhere change."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vpnkeys.domain.errors import (
    KeyElsewhere,
    KeyNotFound,
    NodeRefused,
    NodeSilent,
    PortsExhausted,
    TargetsUnready,
)
from vpnkeys.domain.key import ID, PORT, Key, Keys, find, spelled
from vpnkeys.domain.nodes import ANY_NODE, LOCAL, NodeRecord, NodeState, NodeWish, state_of
from vpnkeys.domain.portpool import PortRange
from vpnkeys.interfaces import Clock, Store
from vpnkeys.service.change.changer import Ending
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.far import FarRoad
from vpnkeys.service.nodes.placement import Candidate, choose

_log = logging.getLogger(__name__)

_NO_PORTS = PortRange(1, 0)

# Nothing was made, and another node may have what this one lacks.
_ELSEWHERE_INSTEAD = (NodeSilent, NodeRefused, TargetsUnready, PortsExhausted)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Knows the nodes besides the built-in one. Of that one `pool` are the ports, and `names` those that work there.

    A control plane without a node of its own (`has_local`) has no key there.
    """

    board: Board
    clock: Clock
    ending: Ending
    pool: PortRange
    names: Callable[[], Collection[str]]
    has_local: bool = True

    @property
    def store(self) -> Store:
        """Return the database."""
        return self.board.store

    def is_here(self, record: NodeRecord) -> bool:
        """Return whether this server runs the node itself. Raises KeyElsewhere when another one does."""
        if record.ref.id == LOCAL.id and not self.has_local:
            msg = "The key lives on the node of a server that runs it itself. Ask that server."
            raise KeyElsewhere(msg)
        return record.ref.id == LOCAL.id

    def placed(self, wish: NodeWish, count: int, make: Callable[[NodeRecord], T]) -> T:
        """Return so many keys that are made on the best node, or on the next one where that cannot have it.

        Raises what `placement.choose` raises, and what `make` raises on the last node.
        """
        *others, last = choose(self.candidates(wish), wish, count)
        for record in others:
            try:
                return make(record)
            except _ELSEWHERE_INSTEAD as error:
                _log.warning("%s", error)
        return make(last)

    def candidates(self, wish: NodeWish = ANY_NODE) -> dict[int, Candidate]:
        """Return the nodes as they are now, by id: all, or the one that is wished for alone."""
        records, now = self.store.nodes(), self.clock.now()
        # Of many nodes, one that was asked for alone is looked at; where there is no such, the error names them all.
        asked = [one for one in records if wish.node in {one.ref.name, str(one.ref.id)}]
        seen = self.store.sightings(asked[0].ref.id if asked else None)
        stored = self.store.for_nodes()
        keys = Keys.of(stored.keys).by_node()
        candidates = dict[int, Candidate]()
        for record in asked or records:
            is_local = record.ref.id == LOCAL.id
            sighting = seen.get(record.ref.id)
            state = state_of(record, sighting, now)
            has_names = sighting is not None and bool(sighting.names)
            # No agent reports of the built-in node: its server is here, or it takes no keys.
            if is_local:
                state = record.state if self.has_local else NodeState.DRAINED
                has_names = bool(self.names())
            ports = self.pool if is_local else record.ports or _NO_PORTS
            held = keys.get(record.ref.id, Keys())
            taken = sum(port not in held.by(PORT) for port in self.board.taken_ports(record.ref.id))
            placed = [one.key for one in stored.placings if one.key.node.id == record.ref.id]
            count = len(held) + sum(key.id not in held.by(ID) for key in placed)
            candidates[record.ref.id] = Candidate(record, state, ports, count, taken, has_names)
        return candidates

    def by_node(self, ids: Sequence[str], keys: Keys) -> Iterator[tuple[NodeRecord, Sequence[str]]]:
        """Yield ids of keys with the node on which they live, or where they are still to stop. Raises KeyNotFound."""
        stopping = {name: stop.node_id for stop in self.store.stops() for name in (stop.key_id, stop.uuid)}
        parts: dict[int, list[str]] = {}
        for one in ids:
            try:
                node_id = find(keys, one).node.id  # a key that has moved may still have to stop elsewhere
            except KeyNotFound:
                known = next((stopping[name] for name in spelled(one) if name in stopping), None)
                if known is None:
                    raise
                node_id = known
            parts.setdefault(node_id, []).append(one)
        yield from self._by_record(parts)

    def before(self, key_ids: Collection[str]) -> Iterator[tuple[NodeRecord, Sequence[str]]]:
        """Yield ids of keys with each node on which they lived before, and which has not confirmed their stop."""
        at, parts = {key.id: key.node.id for key in Keys.of(self.store.keys()).among(key_ids)}, dict[int, list[str]]()
        for stop in self.store.stops():
            if stop.key_id in key_ids and not stop.is_confirmed and at.get(stop.key_id) != stop.node_id:
                parts.setdefault(stop.node_id, []).append(stop.key_id)
        yield from self._by_record(parts)

    def _by_record(self, parts: Mapping[int, Sequence[str]]) -> Iterator[tuple[NodeRecord, Sequence[str]]]:
        records = {record.ref.id: record for record in self.store.nodes()}
        yield from ((records[node_id], its_ids) for node_id, its_ids in parts.items())

    def record_of(self, key: Key) -> NodeRecord:
        """Return the node of a key."""
        return next(record for record in self.store.nodes() if record.ref.id == key.node.id)

    def road(self, record: NodeRecord) -> FarRoad:
        """Return how keys of this node change."""
        return FarRoad(record, self.board, self.clock, self.ending)
