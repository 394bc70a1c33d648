"""Keys: the bodies that make and change them, and the answers that show them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from vpnkeys.wire.base import Added, Answer, Body, Expiry, Microseconds, Name, OneOf, StrictBody, one_of, refuse_unknown
from vpnkeys.wire.limits import (
    SENT_WINDOW,
    Devices,
    Remaining,
    ResetsAt,
    Speed,
    Term,
    TrafficLimit,
    UsedInWindow,
    Whole,
    Window,
)
from vpnkeys.wire.nodes import NodeChoice, NodeGroup

NOTE_MAX_CHARS = 1000
MAX_BULK = 1000

Note = Annotated[
    str,
    Field(
        strict=True,
        description=f"up to {NOTE_MAX_CHARS} characters for yourself",
        json_schema_extra={"maxLength": NOTE_MAX_CHARS, "pattern": r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"},
    ),
]

# Texts that the server judges once (`domain`); the patterns are for readers of the OpenAPI document.
_Hex = r"[0-9a-fA-F]"
Uuid = Annotated[
    str,
    Field(
        strict=True,
        description="the VLESS id",
        json_schema_extra={"format": "uuid", "pattern": f"^{_Hex}{{8}}(-{_Hex}{{4}}){{3}}-{_Hex}{{12}}$"},
    ),
]
ShortId = Annotated[
    str,
    Field(
        strict=True,
        description="REALITY short id, 2 to 16 hex digits",
        json_schema_extra={"pattern": f"^({_Hex}{{2}}){{1,8}}$"},
    ),
]
ServerName = Annotated[str, Field(strict=True, description="one of the server names of `GET /api/system/targets`")]
Port = Annotated[int, Field(strict=True, ge=1, le=65535, description="a free port of the server's range"), Whole]
OtherPort = Annotated[
    int,
    Field(
        strict=True, ge=0, le=65535, description="a free port of the server's range, 0: the lowest; the link changes"
    ),
    Whole,
]
FINGERPRINTS = ("chrome", "firefox", "safari", "edge", "ios", "random", "randomized", "qq")
Fingerprint = Annotated[
    str,
    Field(
        strict=True,
        description="the browser whose TLS handshake the client imitates; null: the server's setting",
        json_schema_extra={"enum": [*FINGERPRINTS]},
    ),
]

# What other programs for VPN keys call these, in small letters and without underscores.
_OTHER_NAMES = MappingProxyType(
    {
        other: field
        for field, others in {
            "expires_after_s": "expiresafter expireafter expiresafterdays validdays onholdexpireduration",
            "expires_at": "expire expiry expirydate expirytime expiration expirationdate expireson validuntil",
            "traffic_limit_bytes": "traffic limittraffic datalimit totalgb totalbytes quota quotabytes bandwidthlimit",
            "traffic_limit_window": "datalimitresetstrategy resetstrategy",
            "max_devices": "devices devicelimit deviceslimit limitdevices limitip iplimit maxip maxips hwiddevicelimit",
            "speed_limit_mbps": "speed speedmbps limitspeed maxspeed",
            "is_active": "active enable enabled",
            "note": "comment remark remarks",
            "short_id": "sid",
            "sni": "servername",
            "fingerprint": "fp utls utlsfingerprint",
        }.items()
        for other in others.split()
    }
)


class KeySettings(BaseModel):
    """What may be decided about a key beside its name; null is no limit."""

    is_active: Annotated[bool, Field(strict=True, description="false: switched off, the port stays its own")] = True
    note: Note = ""
    expires_at: Annotated[Expiry | None, Field(description="when it ends; null: never; a date: its end, UTC")] = None
    expires_after_s: Annotated[
        Term | None, Field(description="instead of `expires_at`: counts from its first byte", examples=[None, 2592000])
    ] = None
    traffic_limit_bytes: TrafficLimit | None = None
    traffic_limit_window: Window = "total"
    max_devices: Devices | None = None
    speed_limit_mbps: Speed | None = None
    fingerprint: Fingerprint | None = None

    @classmethod
    def other_names(cls) -> Mapping[str, str]:
        """Return names by which other programs call these fields."""
        return _OTHER_NAMES

    @model_validator(mode="after")
    def _refuse_two_ends(self) -> Self:
        return one_of(self, "expires_at", "expires_after_s")


class NewKey(KeySettings, Body):
    """A key to be made. The server chooses what is not given, or null."""

    name: Name
    uuid: Uuid | None = None
    short_id: ShortId | None = None
    sni: ServerName | None = None
    port: Port | None = None
    node: NodeChoice | None = None
    group: NodeGroup = None

    @model_validator(mode="after")
    def _refuse_two_places(self) -> Self:
        return one_of(self, "node", "group")


class KeyChange(KeySettings, StrictBody):
    """What should change; fields that are not given stay as they are."""

    name: Name = ""
    port: OtherPort | None = None


class KeyRotation(StrictBody):
    """What a key is to get anew; at least one."""

    uuid: Annotated[bool, Field(strict=True, description="another UUID")] = False
    short_id: Annotated[bool, Field(strict=True, description="another REALITY short id")] = False
    sni: Annotated[bool, Field(strict=True, description="another server name, one that works now")] = False


Ids = Annotated[list[str], Field(min_length=1, max_length=MAX_BULK, description="ids or UUIDs")]


class NewKeys(Body):
    """Keys to be made, all or none."""

    keys: Annotated[list[NewKey], Field(min_length=1, max_length=MAX_BULK)]

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_of_all(cls, given: Any) -> Any:  # noqa: ANN401 - raw input
        """Check the names of all keys together, of which each key may have but a few."""
        keys = given.get("keys") if isinstance(given, dict) else None
        if isinstance(keys, list):
            refuse_unknown(NewKey, dict.fromkeys(name for key in keys if isinstance(key, dict) for name in key))
        return given


class KeyIds(StrictBody):
    """The keys that are meant."""

    ids: Ids


class Extension(StrictBody):
    """The keys that are to expire later, and by how many days."""

    ids: Ids
    days: Annotated[int, Field(strict=True, ge=1, le=3650), Whole]


class Key(Answer):
    """A key. A limit that is null is none."""

    id: Annotated[str, Field(description="the key's id")]
    name: str
    uuid: Annotated[str, Field(description="the VLESS id")]
    created_at: Microseconds
    is_active: Annotated[bool, Field(description="the operator's switch; `status` tells whether the key works")]
    port: Annotated[int, Field(description="the key's own TCP port", examples=[10001])]
    # Older servers have keys without these two.
    short_id: Annotated[Added[str], Field(description="REALITY short id, hex", examples=["5f9c2b7adfe7d8ab"])] = None
    sni: Annotated[Added[str], Field(description="REALITY server name", examples=["www.nvidia.com"])] = None
    status: Annotated[
        Added[str],
        OneOf("active", "disabled", "expired", "limited"),
        Field(description="whether the key works, and if not, why"),
    ] = None
    note: str = ""
    expires_at: Microseconds | None = None
    traffic_limit_bytes: Annotated[int | None, Field(description="bytes, up and down together")] = None
    traffic_limit_window: Annotated[Added[str], SENT_WINDOW] = None
    max_devices: Annotated[int | None, Field(description="devices (IPv4 address, IPv6 /64) online at once")] = None
    speed_limit_mbps: Annotated[int | None, Field(description="Mbit/s (10^6 bits), each way")] = None
    fingerprint: Annotated[
        str | None,
        Field(
            description="the browser whose TLS handshake the client imitates; null: the server's setting",
            examples=["firefox"],
        ),
    ] = None
    expires_after_s: Annotated[
        int | None,
        Field(description="seconds from the first byte; `expires_at` is null until then", examples=[2592000]),
    ] = None
    node: Annotated[Added[str], Field(description="the name of the key's node", examples=["local"])] = None
    used_in_window_bytes: UsedInWindow = None
    remaining_bytes: Remaining = None
    resets_at: Annotated[Microseconds | None, ResetsAt] = None


class MadeKey(Key):
    """A key that was just made, or that an earlier request with the same Idempotency-Key made."""

    ignored_fields: Annotated[
        tuple[str, ...], Field(description="fields of the request that this server does not know, and ignored")
    ] = ()


class KeyConfig(Answer):
    """A key with its link; `client_config` and `vless_url` are the same."""

    key: Key
    client_config: str
    vless_url: str
    short_id: Added[str] = None


class KeyLink(Answer):
    """A key's link; `vless_link`, `vless_url` and `client_config` are the same."""

    vless_link: str
    vless_url: str
    client_config: str
    key_id: str
    key_uuid: str


class Done(Answer):
    """The server did what was asked."""

    message: str


class Deleted(Done):
    """The key is gone."""

    message: Annotated[str, OneOf("Key deleted successfully")]


class DeletedMany(Done):
    """The keys are gone."""

    message: Annotated[str, OneOf("Keys deleted successfully")]
    deleted: Annotated[int, Field(description="how many keys")]


class EgressTest(Answer):
    """Whether a test got from the server out to the key's own REALITY target."""

    works: Annotated[bool | None, Field(description="null: not tried; `detail` says why")] = None
    detail: str = ""


class KeyTest(Answer):
    """What a real client found that tried a key's link."""

    key_id: str
    works: Annotated[bool, Field(description="a real client got in by the key's link and got bytes back")]
    handshake_ms: Annotated[
        float | None, Field(description="milliseconds for TCP and REALITY; null: it did not come to that")
    ] = None
    first_byte_ms: Annotated[
        float | None,
        Field(description="milliseconds from the request to the first byte of the answer, handshake included"),
    ] = None
    bytes_received: int = 0
    counted: Annotated[bool, Field(description="the key's traffic counters have grown by these bytes")] = False
    egress: Annotated[
        EgressTest, Field(description="a TLS handshake with the key's own REALITY target, by the tunnel")
    ] = EgressTest()
    detail: Annotated[str, Field(description="for people: what was found, and what to do next")]
    code: Annotated[
        str,
        Field(
            description="`ok`, `egress_failed`, `not_counted`; or, when it does not work, `key_disabled`, "
            "`key_expired`, `key_limited`, `port_not_listening`, `target_down`, `handshake_refused`, "
            "`no_answer`, `client_failed`"
        ),
    ]
