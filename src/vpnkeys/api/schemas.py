"""What goes over the wire, as the API's specification names and types it."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from vpnkeys.domain.key import NAME_MAX_CHARS, Key


def _microseconds(moment: datetime) -> str:
    """ISO 8601 with six decimals, UTC, no offset: also when the microseconds are zero."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")


# For readers of the OpenAPI document; what decides is `domain.key.parse_name`, once.
_CONTROLS, _SPACES = r"\u0000-\u001f\u007f-\u009f", r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NAME_PATTERN = f"^[^{_CONTROLS}]*[^{_CONTROLS}{_SPACES}][^{_CONTROLS}]*$"

CreatedAt = Annotated[
    datetime,
    PlainSerializer(_microseconds, return_type=str),
    Field(description="ISO 8601 with six decimals, UTC, without an offset", examples=["2025-08-05T12:00:00.000000"]),
]


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[
        str,
        Field(
            strict=True,
            description=f"1 to {NAME_MAX_CHARS} characters after trimming, none of them a control character",
            examples=["user@example.com"],
            json_schema_extra={"minLength": 1, "maxLength": NAME_MAX_CHARS, "pattern": _NAME_PATTERN},
        ),
    ]


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
        )


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
