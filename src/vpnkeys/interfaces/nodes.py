"""Declares the protocol of what is stored of nodes."""

from datetime import datetime
from typing import Protocol

from vpnkeys.domain.nodes import Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door


class NodeBook(Protocol):
    """Stores nodes, how they join and when they were seen, inside a write transaction."""

    def add(self, node: NodeRecord) -> NodeRecord:
        """Add a node and return it with an id of its own; its name must be new."""
        ...

    def put(self, node: NodeRecord) -> None:
        """Change the node with this one's id."""
        ...

    def remove(self, node_id: int) -> None:
        """Remove a node that has no keys and no stops. What was counted on it stays."""
        ...

    def put_join(self, join: Join) -> None:
        """Let an agent join, by this alone: earlier joins of the node that were not used are void."""
        ...

    def take_join(self, digest: str, at: datetime) -> int | None:
        """Use a join up and return the id of its node; None when there is none that is unused and has not expired."""
        ...

    def put_sighting(self, node_id: int, sighting: Sighting) -> None:
        """Store how a node was last seen, in place of what was seen before."""
        ...

    def put_door(self, door: Door) -> None:
        """Add a door of the built-in node, or replace the one with its tag."""
        ...

    def remove_door(self, tag: str) -> None:
        """Remove a door. A missing one is no error."""
        ...
