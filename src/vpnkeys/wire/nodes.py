"""Nodes: the servers on which keys live. The built-in one, `local`, is the Xray of the server that answers."""

from typing import Annotated, Literal

from pydantic import Field

from vpnkeys.wire.base import Answer, Microseconds, OneOf, StrictBody

NodeName = Annotated[str, Field(description="the node's name", examples=["local"])]
PortRange = Annotated[str, Field(examples=["10001-10100"])]
State = Annotated[
    str,
    OneOf("joining", "up", "silent", "drained", "lost"),
    Field(
        description="`joining`: its agent has not joined yet; `up`: it works; `silent`: not heard of for 15 s, which "
        "customers need not notice; `drained`: it gets no new keys; `lost`: given up, nothing waits for it"
    ),
]
NewState = Annotated[
    Literal["up", "drained", "lost"],
    Field(description="`drained`: no new keys; `lost`: given up, nothing waits for it; `up`: neither"),
]
Group = Annotated[str, Field(description="the group of nodes that it belongs to", examples=["default"])]
SentAddress = Annotated[str, Field(max_length=253, description="the host in links", examples=["203.0.113.7"])]
SentRange = Annotated[
    str, Field(pattern=r"^[0-9]{1,5}-[0-9]{1,5}$", description="ports for keys", examples=["10001-10100"])
]
MaxKeys = Annotated[
    int | None, Field(ge=0, le=65535, strict=True, description="null: as many as it has ports", examples=[100])
]
Weight = Annotated[
    int,
    Field(
        ge=0,
        le=1000,
        strict=True,
        description="how large its share of new keys is, beside the others of its group",
        examples=[1],
    ),
]

NodeGroup = Annotated[str, Field(description="in place of `node`: any node of this group", examples=["default"])]
NodeChoice = Annotated[
    str | Annotated[int, Field(strict=True)],
    Field(description="id or name of the node for the key, of `GET /api/nodes`", examples=["local"]),
]


class Node(Answer):
    """A node, and how far it has followed the database."""

    id: Annotated[int, Field(examples=[1])]
    name: NodeName
    group: Group
    address: Annotated[str, Field(description="the host in links", examples=["203.0.113.7"])]
    state: State
    port_range: Annotated[
        str | None, Field(description="null: its agent has not said which it has", examples=["10001-10100"])
    ] = None
    max_keys: Annotated[int | None, Field(description="null: as many as it has ports", examples=[100])] = None
    weight: Annotated[
        int, Field(description="how large its share of new keys is, beside the others of its group", examples=[1])
    ]
    keys: Annotated[int, Field(description="how many keys it has", examples=[42])]
    seen_at: Annotated[Microseconds | None, Field(description="when it was last heard of, UTC; null: never")] = None
    applied: Annotated[
        int | None,
        Field(
            description="the revision of the keys that it was last seen to have; null: what it has is no revision, or "
            "none was seen since the start of the server",
            examples=[1017],
        ),
    ] = None
    desired: Annotated[int, Field(description="the revision of the keys in the database", examples=[1017])]
    lag_s: Annotated[float, Field(description="for how many seconds it is known to be behind", examples=[0.0])]
    version: Annotated[str, Field(description="of its vpnkeys")]
    xray_version: str
    names_ready: Annotated[int, Field(description="how many server names work there now", examples=[5])]
    public_key: Annotated[str, Field(description="the REALITY public key in links of keys", examples=["public-key"])]


class NewNode(StrictBody):
    """A node to be made. What is not given, its agent says of itself when it joins."""

    name: NodeName
    group: Group = "default"
    address: SentAddress = ""
    port_range: SentRange | None = None
    max_keys: MaxKeys = None
    weight: Weight = 1


class NodeChange(StrictBody):
    """What should change; fields that are not given stay as they are."""

    name: NodeName = ""
    group: Group = ""
    address: SentAddress = ""
    max_keys: MaxKeys = None
    weight: Weight = 1
    state: NewState = "up"


class NodeMade(Answer):
    """A node that was made just now, and how its agent joins: once, until `expires_at`."""

    node: Node
    join_command: Annotated[
        str,
        Field(
            description="to run on the new machine; the token is in it",
            examples=["vpnkeys agent join https://203.0.113.10:8000 --token vpnk_join2_text"],
        ),
    ]
    join_token: Annotated[str, Field(description="shown this once", examples=["vpnk_join2_text"])]
    expires_at: Microseconds


class NodeRemoved(Answer):
    """A node that is no more."""

    message: str


class NodePart(Answer):
    """A node that an answer is about."""

    node: NodeName
    state: State


class NodeSync(NodePart):
    """Whether config.json of a node follows the database."""

    synchronized: bool


class NodePorts(NodePart):
    """The ports of a node."""

    used_ports: Annotated[int, Field(description="how many ports of its range have a key", examples=[12])]
    available_ports: Annotated[int, Field(description="how many ports of its range have none")]
    max_ports: Annotated[int, Field(description="how many ports its range has")]
    port_range: PortRange


class NodeCheck(NodePart):
    """Whether something is wrong on a node."""

    valid: bool
