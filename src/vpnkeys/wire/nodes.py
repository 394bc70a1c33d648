"""Nodes: the servers on which keys live. The built-in one, `local`, is the Xray of the server that answers."""

from collections.abc import Mapping
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

NodeGroup = Annotated[
    str | None, Field(description="in place of `node`: any node of this group", examples=[None, "default"])
]
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
    places: Annotated[
        int | None, Field(description="how many keys it can have, by its ports and `max_keys`", examples=[100])
    ] = None
    traffic_bytes: Annotated[
        int, Field(description="counted there, up and down, of keys that exist", examples=[1234567])
    ] = 0
    failed: Annotated[
        Mapping[str, str],
        Field(description="of keys that are not there as they should be: code by id", examples=[{"17": "port_taken"}]),
    ] = Field(default_factory=dict)
    cpu_share: Annotated[
        float | None, Field(description="busy part of its cores, 0 to 1; null: not known", examples=[0.2])
    ] = None
    clock_ahead_s: Annotated[
        float | None, Field(description="by how many seconds its clock is ahead; null: not known", examples=[0.0])
    ] = None
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


class NodeMove(StrictBody):
    """Where the keys of a node should go; without `to`, to others of its group, by weight."""

    to: Annotated[NodeChoice | None, Field(description="id or name of another node", examples=["fra-2"])] = None


class KeyPlace(Answer):
    """Where a key lives or has lived, and its link there."""

    node: NodeName
    port: Annotated[int, Field(examples=[10001])]
    link: Annotated[str, Field(description="its link there", examples=["vless://…"])]


class KeyMoved(Answer):
    """A key that has moved: `new` works now, and its customer needs it."""

    key_id: str
    uuid: str
    name: str
    old: KeyPlace
    new: KeyPlace


class KeyNotMoved(Answer):
    """A key that stays where it was, as it was."""

    key_id: str
    name: str
    code: Annotated[str, Field(description="as in errors", examples=["node_silent"])]
    detail: Annotated[str, Field(description="the reason, and what to do next")]


class NodeMoved(Answer):
    """What became of the keys of a node."""

    node: NodeName
    moved: tuple[KeyMoved, ...]
    failed: tuple[KeyNotMoved, ...]
    has_stopped: Annotated[
        bool,
        Field(description="the node has confirmed that old links are dead; false: they end when it is heard of again"),
    ]


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
