"""Declares the protocol of what is stored of nodes."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from vpnkeys.domain.change import Stop
from vpnkeys.domain.key import Key
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import NOBODY, Confirmed, Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door


class ForNodes(NamedTuple):
    """What nodes elsewhere should have, all of one moment: `revision` grows with each change of the others."""

    revision: int
    keys: tuple[Key, ...]
    stops: tuple[Stop, ...]
    placings: tuple[Placing, ...]


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

    def place(self, placings: Iterable[Placing]) -> None:
        """Want keys of nodes; none of them may be placed already."""
        ...

    def placings(self) -> tuple[Placing, ...]:
        """Return all keys that are being placed, with the changes of this transaction."""
        ...

    def drop_placings(self, key_ids: Collection[str], owner: str | None = None) -> int:
        """Want these keys no more than as they are stored; return how many were placed, by `owner` where one is named.

        What another one has placed stays.
        """
        ...

    def is_known(self, answer_hash: str, since: datetime) -> bool:
        """Return whether a request with this Idempotency-Key was answered since then, or is being carried out."""
        ...

    def confirmed(self, node_id: int) -> Confirmed | None:
        """Return what a node has confirmed last, with the changes of this transaction; None when it never did."""
        ...

    def put_silent(self, node_id: int, *, is_silent: bool) -> None:
        """Store whether webhooks are notified of the silence of a node that was seen."""
        ...

    def put_sighting(self, node_id: int, sighting: Sighting, online: Mapping[str, int] = NOBODY) -> None:
        """Store how a node was last seen, and from how many devices keys were online, in place of what was before."""
        ...

    def put_door(self, door: Door) -> None:
        """Add a door of the built-in node, or replace the one with its tag."""
        ...

    def remove_door(self, tag: str) -> None:
        """Remove a door. A missing one is no error."""
        ...
