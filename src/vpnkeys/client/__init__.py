"""A client of the key server's API 2.3.4: every endpoint a method, every answer a type, every error a class.

    from vpnkeys.client import Client, NotFound

    with Client("https://203.0.113.10:8000", api_key, fingerprint="6F:1C:…:A0") as server:
        key = server.keys.create("user@example.com", idempotency_key="order-1017", max_devices=2)
        print(server.keys.config(key.id).vless_url)
        try:
            print(server.keys.traffic(key.id).total_bytes)
        except NotFound:
            ...

`AsyncClient` has the same methods, to be awaited: `key = await server.keys.create(…)` inside `async with`.

`fingerprint` is what the server prints when it starts: its certificate is then trusted by that and by nothing else.
Fields that a newer server adds are kept (`model_extra`). Nothing is sent twice by itself; `idempotency_key` lets a
caller repeat `create` safely.
"""

from vpnkeys.client._audit import Audit
from vpnkeys.client._backups import Backups
from vpnkeys.client._client import AsyncClient, Client
from vpnkeys.client._doors import Doors
from vpnkeys.client._errors import (
    ApiError,
    NotFound,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from vpnkeys.client._events import StreamEvent
from vpnkeys.client._fields import KeyFields, KeyLimits, NewKey, NewKeyFields
from vpnkeys.client._keys import Keys
from vpnkeys.client._nodes import Nodes
from vpnkeys.client._subscriptions import Subscriptions
from vpnkeys.client._system import System
from vpnkeys.client._tokens import Tokens
from vpnkeys.client._traffic import AllKeysTraffic
from vpnkeys.client._webhooks import Webhooks
from vpnkeys.wire.audit import AuditRecord
from vpnkeys.wire.backups import BackupFile
from vpnkeys.wire.base import Answer
from vpnkeys.wire.doors import Door, DoorClosed
from vpnkeys.wire.health import Health, Info
from vpnkeys.wire.keys import Deleted, DeletedMany, Done, EgressTest, Key, KeyConfig, KeyLink, KeyTest, MadeKey
from vpnkeys.wire.nodes import (
    KeyMoved,
    KeyNotMoved,
    KeyPlace,
    Node,
    NodeCheck,
    NodeMade,
    NodeMoved,
    NodePart,
    NodePorts,
    NodeRemoved,
    NodeSync,
)
from vpnkeys.wire.plans import Move, PlannedFile, PlannedInbound, PortsPlan, SyncPlan, Targets, TargetState
from vpnkeys.wire.ports import AssignedPort, Ports, PortsReset, PortsStatus, PortsValidation, PortTable, UsedPort
from vpnkeys.wire.subscriptions import (
    SharedSubscription,
    SharedSubscriptionMade,
    Subscription,
    SubscriptionMade,
    SubscriptionRevoked,
)
from vpnkeys.wire.system import (
    Comparison,
    ConfigStatus,
    HostLoad,
    Inbound,
    Moment,
    OnlineNow,
    Overview,
    RealityFixed,
    RealityVerified,
    ShortIdFix,
    ShortIdMismatch,
    ShortIdSync,
    Synced,
    SyncValidation,
    XrayConfigStatus,
    XrayConfigSummary,
    XrayInbounds,
    XraySynced,
    XrayValidated,
)
from vpnkeys.wire.tokens import Me, Token, TokenMade
from vpnkeys.wire.traffic import (
    AllHistory,
    AllTraffic,
    KeyUsage,
    Online,
    Traffic,
    TrafficGap,
    TrafficHistory,
    TrafficPoint,
    TrafficReset,
)
from vpnkeys.wire.webhooks import Delivery, Webhook, WebhookDeleted, WebhookMade, WebhookTried

# Names that the client had before the server and it shared their types.
Assignment = UsedPort | AssignedPort
RuntimeSync = Comparison

__all__ = [
    "AllHistory",
    "AllKeysTraffic",
    "AllTraffic",
    "Answer",
    "ApiError",
    "AssignedPort",
    "Assignment",
    "AsyncClient",
    "Audit",
    "AuditRecord",
    "BackupFile",
    "Backups",
    "Client",
    "Comparison",
    "ConfigStatus",
    "Deleted",
    "DeletedMany",
    "Delivery",
    "Done",
    "Door",
    "DoorClosed",
    "Doors",
    "EgressTest",
    "Health",
    "HostLoad",
    "Inbound",
    "Info",
    "Key",
    "KeyConfig",
    "KeyFields",
    "KeyLimits",
    "KeyLink",
    "KeyMoved",
    "KeyNotMoved",
    "KeyPlace",
    "KeyTest",
    "KeyUsage",
    "Keys",
    "MadeKey",
    "Me",
    "Moment",
    "Move",
    "NewKey",
    "NewKeyFields",
    "Node",
    "NodeCheck",
    "NodeMade",
    "NodeMoved",
    "NodePart",
    "NodePorts",
    "NodeRemoved",
    "NodeSync",
    "Nodes",
    "NotFound",
    "Online",
    "OnlineNow",
    "Overview",
    "PlannedFile",
    "PlannedInbound",
    "PortTable",
    "Ports",
    "PortsPlan",
    "PortsReset",
    "PortsStatus",
    "PortsValidation",
    "RealityFixed",
    "RealityVerified",
    "Rejected",
    "RuntimeSync",
    "SharedSubscription",
    "SharedSubscriptionMade",
    "ShortIdFix",
    "ShortIdMismatch",
    "ShortIdSync",
    "StreamEvent",
    "Subscription",
    "SubscriptionMade",
    "SubscriptionRevoked",
    "Subscriptions",
    "SyncPlan",
    "SyncValidation",
    "Synced",
    "System",
    "TargetState",
    "Targets",
    "Token",
    "TokenMade",
    "Tokens",
    "TooManyRequests",
    "Traffic",
    "TrafficGap",
    "TrafficHistory",
    "TrafficPoint",
    "TrafficReset",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UsedPort",
    "Webhook",
    "WebhookDeleted",
    "WebhookMade",
    "WebhookTried",
    "Webhooks",
    "XrayConfigStatus",
    "XrayConfigSummary",
    "XrayInbounds",
    "XraySynced",
    "XrayValidated",
]
