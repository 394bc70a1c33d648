"""What goes over the wire, as the API's specification names and types it."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from vpnkeys.domain.key import NAME_MAX_CHARS, NOTE_MAX_CHARS, Key, parse_name, parse_note
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.service.keys import Draft


def _microseconds(moment: datetime) -> str:
    """ISO 8601 with six decimals, UTC, no offset: also when the microseconds are zero."""
    return moment.isoformat(timespec="microseconds")


# For readers of the OpenAPI document; what decides is `domain.key.parse_name`, once.
_CONTROLS, _SPACES = r"\u0000-\u001f\u007f-\u009f", r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NAME_PATTERN = f"^[^{_CONTROLS}]*[^{_CONTROLS}{_SPACES}][^{_CONTROLS}]*$"

CreatedAt = Annotated[
    datetime,
    PlainSerializer(_microseconds, return_type=str),
    Field(description="ISO 8601 with six decimals, UTC, without an offset", examples=["2025-08-05T12:00:00.000000"]),
]


def _utc(value: object) -> datetime:
    """ISO 8601; with an offset it is brought to UTC, without one it is UTC."""
    if not isinstance(value, str):
        msg = "give ISO 8601, such as 2026-12-31T23:59:59Z"
        raise ValueError(msg)  # noqa: TRY004 - pydantic tells ValueErrors to the client
    try:
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        msg = "give ISO 8601, such as 2026-12-31T23:59:59Z"
        raise ValueError(msg) from error


def _whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[
    str,
    Field(
        strict=True,
        description=f"1 to {NAME_MAX_CHARS} characters after trimming, none of them a control character",
        examples=["user@example.com"],
        json_schema_extra={"minLength": 1, "maxLength": NAME_MAX_CHARS, "pattern": _NAME_PATTERN},
    ),
]
Note = Annotated[
    str,
    Field(
        strict=True,
        description=f"up to {NOTE_MAX_CHARS} characters for yourself",
        json_schema_extra={"maxLength": NOTE_MAX_CHARS, "pattern": r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"},
    ),
]
Expiry = Annotated[
    datetime,
    BeforeValidator(_utc),
    PlainSerializer(_microseconds, return_type=str),
    Field(
        description="when the key stops, ISO 8601; UTC unless it has an offset",
        examples=["2026-12-31T23:59:59"],
        # Years that a computation with offsets cannot leave.
        json_schema_extra={"format": "date-time", "pattern": r"^20[0-9]{2}-"},
    ),
]
_Whole = BeforeValidator(_whole)
# A bound that is exact as a floating-point number too, as which OpenAPI tells it.
TrafficLimit = Annotated[int, Field(strict=True, ge=1, le=10**18, description="bytes, up and down together"), _Whole]
Devices = Annotated[int, Field(strict=True, ge=1, le=1000, description="addresses that may be online at once"), _Whole]
Speed = Annotated[int, Field(strict=True, ge=1, le=100_000, description="Mbit/s (10^6 bits), each way"), _Whole]


class KeyLimits(BaseModel):
    """What may be decided about a key beside its name; null is no limit."""

    model_config = ConfigDict(extra="ignore")

    is_active: Annotated[bool, Field(strict=True, description="false: switched off, the port stays its own")] = True
    note: Note = ""
    expires_at: Expiry | None = None
    traffic_limit_bytes: TrafficLimit | None = None
    traffic_limit_window: Annotated[Window, Field(description="the limit begins anew with each; UTC")] = Window.TOTAL
    max_devices: Devices | None = None
    speed_limit_mbps: Speed | None = None

    def limits(self) -> Limits:
        """The limits as the product knows them."""
        return Limits(
            expires_at=self.expires_at,
            traffic_bytes=self.traffic_limit_bytes,
            traffic_window=self.traffic_limit_window,
            max_devices=self.max_devices,
            speed_mbps=self.speed_limit_mbps,
        )


class NewKey(KeyLimits):
    """A key to be made."""

    name: Name

    def draft(self) -> Draft:
        """The key to be made, its texts parsed. Raises InvalidName, InvalidNote."""
        return Draft(parse_name(self.name), parse_note(self.note), self.limits(), self.is_active)


class KeyChange(KeyLimits):
    """What should change; fields that are not given stay as they are."""

    name: Name = ""

    def draft(self, key: Key) -> Draft:
        """The key as it should be. Raises InvalidName, InvalidNote."""
        now = KeyOut.of(key)
        fields = {name: getattr(self if name in self.model_fields_set else now, name) for name in NewKey.model_fields}
        return NewKey.model_construct(**fields).draft()


class KeyOut(BaseModel):
    """A key."""

    id: Annotated[str, Field(description="the key's id")]
    name: str
    uuid: Annotated[str, Field(description="the VLESS id")]
    created_at: CreatedAt
    is_active: bool
    port: Annotated[int, Field(description="the key's own TCP port", examples=[10001])]
    short_id: Annotated[str, Field(description="REALITY short id, hex", examples=["5f9c2b7adfe7d8ab"])]
    sni: Annotated[str, Field(description="REALITY server name", examples=["www.microsoft.com"])]
    status: Annotated[Status, Field(description="whether the key works, and if not, why")]
    note: str
    expires_at: CreatedAt | None
    traffic_limit_bytes: int | None
    traffic_limit_window: Window
    max_devices: int | None
    speed_limit_mbps: int | None

    @classmethod
    def of(cls, key: Key) -> Self:
        """The key as the API shows it."""
        return cls(
            id=key.id,
            name=key.name,
            uuid=key.uuid,
            created_at=key.created_at,
            is_active=key.is_active,
            port=key.port,
            short_id=key.short_id,
            sni=key.sni,
            status=key.status,
            note=key.note,
            expires_at=key.limits.expires_at,
            traffic_limit_bytes=key.limits.traffic_bytes,
            traffic_limit_window=key.limits.traffic_window,
            max_devices=key.limits.max_devices,
            speed_limit_mbps=key.limits.speed_mbps,
        )


MAX_BULK = 1000
Ids = Annotated[list[str], Field(min_length=1, max_length=MAX_BULK, description="ids or UUIDs")]


class NewKeys(BaseModel):
    """Keys to be made, all or none."""

    keys: Annotated[list[NewKey], Field(min_length=1, max_length=MAX_BULK)]


class KeyIds(BaseModel):
    """Which keys."""

    ids: Ids


class Extension(BaseModel):
    """Which keys are to expire how much later."""

    ids: Ids
    days: Annotated[int, Field(strict=True, ge=1, le=3650), _Whole]


class DeletedMany(BaseModel):
    """The keys are gone."""

    message: Literal["Keys deleted successfully"] = "Keys deleted successfully"
    deleted: int


class KeyConfig(BaseModel):
    """A key with its link; `client_config` and `vless_url` are the same."""

    key: KeyOut
    client_config: str
    vless_url: str
    short_id: str


class Deleted(BaseModel):
    """The key is gone."""

    message: Literal["Key deleted successfully"] = "Key deleted successfully"


class Info(BaseModel):
    """What this is."""

    message: Literal["VPN Key Management API"] = "VPN Key Management API"
    version: Literal["2.3.4"] = "2.3.4"
    status: Literal["running"] = "running"
    service_version: str


class ServiceStates(BaseModel):
    """The parts."""

    api: Literal["running"] = "running"
    xray: Literal["running", "down"]
    database: Literal["ok", "down"]


class HealthOut(BaseModel):
    """How everything is. `timestamp` is in Unix seconds."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: int
    version: Literal["2.3.4"] = "2.3.4"
    service_version: str
    services: ServiceStates
    uptime_seconds: int
    connection_cut: Annotated[
        Literal["available", "unavailable"],
        Field(description="whether open connections of deleted keys can be ended (needs CAP_NET_ADMIN)"),
    ]
    udp_full_cone: Annotated[
        Literal["available", "unavailable"],
        Field(description="whether one UDP session may talk to many peers (needs nftables and CAP_NET_ADMIN)"),
    ]
    server_names_ready: Annotated[int, Field(description="how many configured REALITY server names work now")]
