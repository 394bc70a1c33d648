"""What the database knows of a node."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from vpnkeys.domain.errors import InvalidChoice, NodeNotFound
from vpnkeys.domain.portpool import PortRange

# Not digits alone: where a node is asked for, they are an id.
_NAME = re.compile(r"(?![0-9]+$)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


class NodeState(StrEnum):
    """What a node can be. All but `silent` are stored: that follows from when the node was last heard of."""

    JOINING = "joining"
    """It was made here, and its agent has not joined yet."""
    UP = "up"
    """It works, as the built-in one does whenever the server answers."""
    SILENT = "silent"
    """Its agent has not been heard of for a while; its customers may notice nothing."""
    DRAINED = "drained"
    """The operator lets it have no new keys; those that it has stay."""
    LOST = "lost"
    """The operator has given it up: nothing waits for it."""


class NodeRef(NamedTuple):
    """Names a node. The id is never given to another node; the name is for people, and unique."""

    id: int
    name: str


class NodeWish(NamedTuple):
    """Where a new key should be: on a node, by its id or name, on one of a group, or on any of the default group."""

    node: str | None = None
    group: str | None = None


ANY_NODE: Final = NodeWish()

LOCAL: Final = NodeRef(1, "local")
"""The built-in node: the Xray that this server runs itself."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as the database holds it. `max_keys` is None where only its ports bound the number of its keys.

    Address, ports and public key are those of a node elsewhere: the built-in one has the server's own. `ports` is None
    until its agent has said which it has. `token_digest` recognises the agent's token, which was made at `token_since`
    (None: not known), and `next_digest` the one that takes its place. `private_key` belongs to `public_key`.
    """

    ref: NodeRef
    group: str
    weight: int
    max_keys: int | None
    state: NodeState = NodeState.UP
    address: str = ""
    ports: PortRange | None = None
    public_key: str = ""
    token_digest: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    token_since: datetime | None = None
    next_digest: str = field(default="", repr=False)

    @property
    def takes_all(self) -> bool:
        """Whether nothing but its ports keeps new keys from this node."""
        return self.state is NodeState.UP and self.max_keys is None

    def with_next_token(self, since: datetime) -> "NodeRecord":
        """Return the node as it is once its agent has used its next token: the one before opens nothing any more."""
        return replace(self, token_digest=self.next_digest, next_digest="", token_since=since)


def find_node(records: Iterable[NodeRecord], id_or_name: str) -> NodeRecord:
    """Return the node with this id or name. Raises NodeNotFound."""
    for record in records:
        if id_or_name in {record.ref.name, str(record.ref.id)}:
            return record
    msg = "There is no node with this id or name; GET /api/nodes lists those that are."
    raise NodeNotFound(msg)


def parse_node_name(raw: str, what: str = "name") -> str:
    """Return the name of a node or of a group. Raises InvalidChoice."""
    if _NAME.fullmatch(name := raw.strip()) is None:
        msg = f"{what}: give 1 to 64 letters, digits, dots and dashes, not digits alone, such as fra-1."
        raise InvalidChoice(msg)
    return name
