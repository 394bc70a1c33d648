"""Notifies webhooks when nodes elsewhere fall silent, and when they are heard of again."""

from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.event import Kind, event_of_node
from vpnkeys.domain.nodes import LOCAL, NodeState, state_of
from vpnkeys.interfaces import BRIEFLY_S, Clock
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.lease import Turn, always
from vpnkeys.worker import Job, Worker

_JOB: Final = Job(
    name="node-watch",
    failing="it could not be seen which nodes are silent",
    every_s=2.0,
    # Agents that waited for this server to come back need some time to say so.
    first_after_s=45.0,
    back_off_s=(2.0,),
    late_after_s=30.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class NodeWatch:
    """Looks every two seconds. Of what webhooks were notified is stored with how each node was seen.

    Of a node that was never seen this process alone knows it. Each server sees which nodes are silent; of those that
    share a database one notifies.
    """

    board: Board
    clock: Clock
    turn: Turn = always
    worker: Worker = field(init=False)
    _silent: frozenset[int] = field(default=frozenset(), init=False)
    _told: frozenset[int] = field(default=frozenset(), init=False)
    _is_resting: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is looked at before it starts."""
        self.worker = Worker(_JOB, self.look)

    def silent(self) -> frozenset[int]:
        """Return the ids of the nodes that were silent at the last look."""
        return self._silent

    def look_soon(self) -> None:
        """Look at a node that was made, if the last look found none; before the first look agents need their time."""
        if self._is_resting:
            self.worker.wake()

    def look(self) -> float | None:
        """Compare with the last look, and store what webhooks are to hear of. Raises StoreUnavailable.

        Returns how long nothing can be found: without another node until one is made.
        """
        self._is_resting = True  # before the nodes are read: one that is made meanwhile must not be missed
        if not self.board.has_others():
            self._silent = frozenset()
            return self.board.rest_s
        self._is_resting = False
        store, now = self.board.store, self.clock.now()
        records = {record.ref.id: record for record in store.nodes() if record.ref.id != LOCAL.id}
        seen = store.sightings()
        states = {node_id: state_of(record, seen.get(node_id), now) for node_id, record in records.items()}
        silent = frozenset(node_id for node_id, state in states.items() if state is NodeState.SILENT)
        self._silent = silent
        if not self.turn():
            return None
        heard = {node_id for node_id, state in states.items() if state in {NodeState.UP, NodeState.DRAINED}}
        told = self._told.difference(seen) | {node_id for node_id, one in seen.items() if one.is_silent}
        fell, came = silent - told, told & heard
        if fell or came:
            with store.write(patience_s=BRIEFLY_S) as transaction:
                for kind, ids in ((Kind.NODE_SILENT, fell), (Kind.NODE_BACK, came)):
                    for node_id in sorted(ids):
                        transaction.add_event(event_of_node(kind, records[node_id].ref))
                        transaction.nodes.put_silent(node_id, is_silent=kind is Kind.NODE_SILENT)
        self._told = silent
        return None
