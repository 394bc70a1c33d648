"""The system: database, config.json and running Xray compared, and the repairs."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Added, Answer, OneOf, Seconds, UnixSeconds
from vpnkeys.wire.keys import Done
from vpnkeys.wire.nodes import NodeCheck, NodePart, NodeSync
from vpnkeys.wire.plans import TargetState


class Comparison(Answer):
    """How one side differs from the database, by key UUID; `settings` names what differs in those in `different`.

    Nothing is known of a side that is not `reachable`.
    """

    synced: bool
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    settings: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    reachable: bool = True


class ShortIdMismatch(Answer):
    """A key whose short id in config.json is another one."""

    uuid: str
    name: Added[str] = None
    db_short_id: Added[str] = None
    config_short_id: Added[str] = None


class SyncValidation(Answer):
    """Database, config.json and running Xray, compared."""

    synced: bool
    synchronized: Added[bool] = None
    uuid_synced: Added[bool] = None
    short_id_synced: Added[bool] = None
    keys_count: Added[int] = None
    config_count: Added[int] = None
    total_keys: Added[int] = None
    total_config_clients: Added[int] = None
    key_uuids: tuple[str, ...] = ()
    config_uuids: tuple[str, ...] = ()
    missing_in_config: tuple[str, ...] = ()
    extra_in_config: tuple[str, ...] = ()
    short_id_mismatches: tuple[ShortIdMismatch, ...] = ()
    short_id_mismatches_count: Added[int] = None
    config: Annotated[Added[Comparison], Field(description="config.json against the database, setting by setting")] = (
        None
    )
    runtime: Annotated[Added[Comparison], Field(description="the running Xray against the database")] = None
    problem: Annotated[str, Field(description="why config.json cannot be read; empty when it can")] = ""


class Synced(Done):
    """config.json and the running Xray are what the database says."""

    message: Annotated[str, OneOf("Configuration synchronized successfully")]
    status: Annotated[str, OneOf("synced")]
    validation: SyncValidation
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodeSync, ...], Field(description="the nodes that this is about")] = ()


class ConfigStatus(Answer):
    """Whether config.json follows the database, and the UUIDs on both sides."""

    synchronized: bool
    keys_json_count: int
    config_json_count: int
    keys_json_uuids: tuple[str, ...]
    config_json_uuids: tuple[str, ...]
    validation: Added[SyncValidation] = None
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodeSync, ...], Field(description="the nodes that this is about")] = ()


class RealityVerified(Done):
    """REALITY settings are right, and this is how the targets are."""

    message: Annotated[str, OneOf("Reality settings verified and updated successfully")]
    status: Annotated[str, OneOf("verified")]
    repaired: Annotated[
        tuple[str, ...], Field(description="tags of the inbounds that were put right in the running Xray")
    ] = ()
    config_rewritten: Added[bool] = None
    targets: tuple[TargetState, ...] = ()
    warnings: Annotated[tuple[str, ...], Field(description="what is wrong with targets, for people")] = ()
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class XrayConfigSummary(Answer):
    """config.json in numbers; `config_valid` is Xray's own word."""

    status: Annotated[str, OneOf("ok", "error")]
    total_inbounds: Added[int] = None
    vless_inbounds: Added[int] = None
    api_inbound: Added[bool] = None
    api_inbounds: Added[int] = None
    port_assignments: Annotated[Added[dict[str, str]], Field(description="port to UUID, as in config.json")] = None
    config_valid: Added[bool] = None
    error: Annotated[str, Field(description="why config.json is not valid; empty when it is")] = ""
    timestamp: Added[UnixSeconds] = None


class XrayConfigStatus(Answer):
    """config.json, checked."""

    config_status: XrayConfigSummary
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodeCheck, ...], Field(description="the nodes that this is about")] = ()


class Inbound(Answer):
    """A VLESS inbound of config.json."""

    tag: str
    port: Annotated[int | None, Field(description="null: an operator's inbound without a single port number")]
    client_count: int
    uuids: tuple[str, ...]
    short_ids: tuple[str, ...]
    dest: Annotated[Added[str], Field(description="the REALITY target", examples=["www.nvidia.com:443"])] = None
    server_names: tuple[str, ...] = ()


class XrayInbounds(Answer):
    """The VLESS inbounds of config.json."""

    inbounds: tuple[Inbound, ...]
    timestamp: UnixSeconds
    source: Annotated[str, OneOf("config.json")]
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class ShortIdFix(Answer):
    """A key whose short id was put right in config.json."""

    uuid: str
    name: Added[str] = None
    old_short_id: Added[str] = None
    new_short_id: Added[str] = None


class ShortIdSync(Answer):
    """The short ids that were wrong in config.json and are right now."""

    success: Added[bool] = None
    fixed_count: int = 0
    fixed_keys: tuple[ShortIdFix, ...] = ()


class XraySynced(Done):
    """config.json and the running Xray are right."""

    message: Annotated[str, OneOf("Xray configuration synchronized successfully")]
    status: Annotated[str, OneOf("synced")]
    restarted: Annotated[Added[bool], Field(description="false: all is right without a restart")] = None
    short_id_sync: ShortIdSync
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class XrayValidated(Answer):
    """Database, config.json and running Xray, compared at this moment."""

    validation: SyncValidation
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodeSync, ...], Field(description="the nodes that this is about")] = ()


class RealityFixed(Done):
    """The stored key pair is in config.json and Xray was restarted with it."""

    status: Annotated[str, OneOf("fixed")]
    message: Annotated[str, OneOf("Reality keys fixed successfully")]
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class HostLoad(Answer):
    """What the host has and uses; null where the kernel does not say."""

    cpu_percent: Annotated[float | None, Field(description="of all cores, in the last ten seconds", examples=[12.5])]
    cores: Annotated[int, Field(examples=[2])]
    memory_bytes: int | None
    memory_free_bytes: int | None
    disk_bytes: Annotated[int, Field(description="of the file system of the data directory")]
    disk_free_bytes: int


class Moment(Answer):
    """The traffic of all keys between two samples, and how busy the host was; rates are bytes a second."""

    time: Seconds
    up_rate: float
    down_rate: float
    cpu_percent: float | None


class OnlineNow(Answer):
    """How many keys and devices are online."""

    keys: int
    devices: int


class Overview(Answer):
    """The server at a glance."""

    timestamp: UnixSeconds
    version: Annotated[str, Field(description="of this server")]
    xray_version: str
    uptime_seconds: int
    server_address: Annotated[str, Field(description="the host in links", examples=["203.0.113.7"])]
    certificate_expires_at: Annotated[Seconds | None, Field(description="null: it cannot be read")]
    newest_backup_at: Annotated[Seconds | None, Field(description="null: there is none in the data directory")]
    host: HostLoad
    online: Annotated[OnlineNow | None, Field(description="null while Xray does not answer")]
    recent: Annotated[tuple[Moment, ...], Field(description="the last 15 minutes, oldest first")]
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()
