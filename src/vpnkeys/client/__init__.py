"""A client of the key server's API 2.3.4: every endpoint a method, every answer a type, every error a class.

    from vpnkeys.client import Client, NotFound

    with Client("https://203.0.113.10:8000", api_key, fingerprint="6F:1C:…:A0") as server:
        key = server.keys.create("user@example.com", idempotency_key="order-1017", max_devices=2)
        print(server.keys.config(key.id).vless_url)
        try:
            print(server.keys.traffic(key.id).total_bytes)
        except NotFound:
            ...

`fingerprint` is what the server prints when it starts: its certificate is then trusted by that and by nothing else.
Fields that a newer server adds are kept (`model_extra`). Nothing is sent twice by itself; `idempotency_key` lets a
caller repeat `create` safely.
"""

from vpnkeys.client._client import Client, Keys, System
from vpnkeys.client._errors import (
    ApiError,
    NotFound,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from vpnkeys.client._fields import KeyFields, KeyLimits, NewKey
from vpnkeys.client._models import (
    DeletedMany,
    Done,
    Health,
    Info,
    Key,
    KeyConfig,
    Online,
    Traffic,
    TrafficGap,
    TrafficHistory,
    TrafficPoint,
    TrafficReset,
)
from vpnkeys.client._system_models import (
    Assignment,
    ConfigStatus,
    Inbound,
    Ports,
    PortsReset,
    PortsStatus,
    PortsValidation,
    PortTable,
    RealityVerified,
    RuntimeSync,
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

__all__ = [
    "ApiError",
    "Assignment",
    "Client",
    "ConfigStatus",
    "DeletedMany",
    "Done",
    "Health",
    "Inbound",
    "Info",
    "Key",
    "KeyConfig",
    "KeyFields",
    "KeyLimits",
    "Keys",
    "NewKey",
    "NotFound",
    "Online",
    "PortTable",
    "Ports",
    "PortsReset",
    "PortsStatus",
    "PortsValidation",
    "RealityVerified",
    "Rejected",
    "RuntimeSync",
    "ShortIdFix",
    "ShortIdMismatch",
    "ShortIdSync",
    "SyncValidation",
    "Synced",
    "System",
    "TooManyRequests",
    "Traffic",
    "TrafficGap",
    "TrafficHistory",
    "TrafficPoint",
    "TrafficReset",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "XrayConfigStatus",
    "XrayConfigSummary",
    "XrayInbounds",
    "XraySynced",
    "XrayValidated",
]
