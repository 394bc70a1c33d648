"""`/api/nodes`: which nodes there are, and how each follows the database."""

from typing import Literal, TypeAlias, TypedDict, Unpack

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, one
from vpnkeys.client._http import path_below
from vpnkeys.wire.nodes import Node, NodeMade, NodeMoved, NodeRemoved

_PATH = "/api/nodes"

NodeList: TypeAlias = list[Node]  # a name that `Nodes.list` does not hide

_NODE_LIST = TypeAdapter(NodeList)


class _Common(TypedDict, total=False):
    group: str
    address: str
    max_keys: int | None
    weight: int


class NewNodeFields(_Common, total=False):
    """What may be decided about a new node beside its name; what is left out, its agent says of itself."""

    port_range: str | None


class NodeFields(_Common, total=False):
    """What may be changed of a node. `max_keys` None is as many as it has ports."""

    name: str
    state: Literal["up", "drained", "lost"]


class NodesRequests:
    """The nodes of the server: where keys live."""

    @Request
    def list(self) -> Call[NodeList]:
        """Return all nodes, each compared with the database now."""
        return answer(_NODE_LIST, "GET", _PATH)

    @Request
    def add(self, name: str, **fields: Unpack[NewNodeFields]) -> Call[NodeMade]:
        """Make a node; return it, and the command by which a new machine becomes it: once, within 15 minutes.

        Raises Rejected when the name is another node's.
        """
        return one(NodeMade, "POST", _PATH, json={"name": name, **fields})

    @Request
    def change(self, id_or_name: str, **fields: Unpack[NodeFields]) -> Call[Node]:
        """Change a node and return it; what is not given stays as it is. Raises NotFound, Rejected."""
        return one(Node, "PATCH", path_below(_PATH, id_or_name), json=dict(fields))

    @Request
    def remove(self, id_or_name: str) -> Call[NodeRemoved]:
        """Remove a node that has no keys, or one that is lost, with its keys. Raises NotFound, Rejected."""
        return one(NodeRemoved, "DELETE", path_below(_PATH, id_or_name))

    @Request
    def replace(self, id_or_name: str) -> Call[NodeMade]:
        """Return the command by which a new machine takes the place of a node, with all its links. Raises NotFound.

        It works once, within 15 minutes; until then all stays as it is. Raises Rejected for the built-in node.
        """
        return one(NodeMade, "POST", f"{path_below(_PATH, id_or_name)}/replace")

    @Request
    def move(self, id_or_name: str, to: str | None = None) -> Call[NodeMoved]:
        """Move the keys of a node to another, without `to` to others of its group; return old and new links.

        A repeat goes on with the keys that are left. Raises NotFound, Rejected.
        """
        return one(NodeMoved, "POST", f"{path_below(_PATH, id_or_name)}/move", json={"to": to})

    @Request
    def get(self, id_or_name: str) -> Call[Node]:
        """Return the node with this id or name, compared with the database now. Raises NotFound."""
        return one(Node, "GET", path_below(_PATH, id_or_name))


class Nodes(Part, NodesRequests):
    """The nodes of the server: where keys live."""


class AsyncNodes(AsyncPart, NodesRequests):
    """The nodes of the server: where keys live."""
