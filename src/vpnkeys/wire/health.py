"""What anybody may ask: what this server is, and whether it is well."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from vpnkeys.wire.base import Added, Answer, OneOf, UnixSeconds

Version = Annotated[str, OneOf("2.3.4"), Field(description="the version of the API")]

_PARTS = {"api": ["running"], "xray": ["running", "down", "absent"], "database": ["ok", "down"]}
# A plain dictionary for readers, since the parts differ from server to server; the parts of this one are described.
Services = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "description": "the parts and how each is",
            "properties": {name: {"type": "string", "enum": words} for name, words in _PARTS.items()},
            "required": list(_PARTS),
        }
    ),
]


class Info(Answer):
    """The API's name and version."""

    message: Annotated[str, OneOf("VPN Key Management API")]
    version: Version
    status: Annotated[str, OneOf("running")]
    service_version: Added[str] = None


class HealthProblem(Answer):
    """One reason why the server is not healthy."""

    code: Annotated[str, Field(description="a stable code; the manual says what to do", examples=["disk_low"])]
    since: UnixSeconds
    detail: Annotated[str, Field(description="what is wrong, in words")]


class Health(Answer):
    """How everything is, and the parts."""

    status: Annotated[str, OneOf("healthy", "degraded", "unhealthy")]
    problems: Annotated[
        tuple[HealthProblem, ...], Field(description="each reason why the status is not healthy; empty when it is")
    ] = ()
    timestamp: Added[UnixSeconds] = None
    version: Added[Version] = None
    service_version: Added[str] = None
    services: Services = Field(default_factory=dict)
    uptime_seconds: Added[int] = None
    connection_cut: Annotated[
        Added[str],
        OneOf("available", "unavailable"),
        Field(description="whether open connections of deleted keys can be ended (needs CAP_NET_ADMIN)"),
    ] = None
    udp_full_cone: Annotated[
        Added[str],
        OneOf("available", "unavailable"),
        Field(description="whether one UDP session may talk to many peers (needs nftables and CAP_NET_ADMIN)"),
    ] = None
    server_names_ready: Annotated[
        Added[int], Field(description="how many configured REALITY server names work now")
    ] = None
