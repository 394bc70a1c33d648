"""The answers of `/api/system`."""

from typing import Any

from pydantic import Field

from vpnkeys.client._models import Answer


class ShortIdMismatch(Answer):
    """A short id that is not the same in the database and in config.json."""

    uuid: str
    name: str | None = None
    db_short_id: str | None = None
    config_short_id: str | None = None


class RuntimeSync(Answer):
    """The same comparison with the Xray that runs; when it is not `reachable` nothing is known of it."""

    synced: bool
    reachable: bool = True
    missing: tuple[Any, ...] = ()
    extra: tuple[Any, ...] = ()
    different: tuple[Any, ...] = ()


class SyncValidation(Answer):
    """The database compared with config.json, and with the running Xray."""

    synced: bool
    synchronized: bool | None = None
    uuid_synced: bool | None = None
    short_id_synced: bool | None = None
    keys_count: int | None = None
    config_count: int | None = None
    total_keys: int | None = None
    total_config_clients: int | None = None
    key_uuids: tuple[str, ...] = ()
    config_uuids: tuple[str, ...] = ()
    missing_in_config: tuple[str, ...] = ()
    extra_in_config: tuple[str, ...] = ()
    short_id_mismatches: tuple[ShortIdMismatch, ...] = ()
    short_id_mismatches_count: int | None = None
    runtime: RuntimeSync | None = None


class Synced(Answer):
    """config.json and Xray follow the database."""

    message: str
    status: str
    validation: SyncValidation
    timestamp: int


class ConfigStatus(Answer):
    """Whether config.json follows the database, and the UUIDs on both sides."""

    synchronized: bool
    keys_json_count: int
    config_json_count: int
    keys_json_uuids: tuple[str, ...]
    config_json_uuids: tuple[str, ...]
    timestamp: int


class RealityVerified(Answer):
    """The REALITY settings are right; `warnings` tells of targets that are not."""

    message: str
    status: str
    timestamp: int
    warnings: tuple[Any, ...] = ()


class Assignment(Answer):
    """A port and the key that has it."""

    port: int | None = None
    uuid: str | None = None
    key_id: str | None = None
    key_name: str | None = None
    assigned_at: str | None = None
    is_active: bool | None = None


class PortTable(Answer):
    """Assignments by port (as text) and by the key's UUID."""

    used_ports: dict[str, Assignment] = Field(default_factory=dict)
    port_assignments: dict[str, Assignment] = Field(default_factory=dict)
    created_at: str | None = None
    last_updated: str | None = None


class Ports(Answer):
    """Who has which port, and how many are left."""

    port_assignments: PortTable
    used_ports: int
    available_ports: int
    max_ports: int
    port_range: str
    timestamp: int


class PortsReset(Answer):
    """Ports were handed out again; `changed` tells which keys have another one now, and so another link."""

    message: str
    status: str
    timestamp: int
    changed: tuple[Any, ...] = ()


class PortsValidation(Answer):
    """What is wrong with the assignments."""

    valid: bool
    issues: tuple[str, ...] = ()
    total_assignments: int | None = None
    total_used_ports: int | None = None


class PortsStatus(Answer):
    """The assignments, checked."""

    validation: PortsValidation
    timestamp: int


class XrayConfigSummary(Answer):
    """What config.json holds; `config_valid` is Xray's own verdict."""

    status: str
    total_inbounds: int | None = None
    vless_inbounds: int | None = None
    api_inbound: Any = None
    api_inbounds: Any = None
    port_assignments: Any = None
    config_valid: bool | None = None
    timestamp: int | None = None


class XrayConfigStatus(Answer):
    """config.json, checked."""

    config_status: XrayConfigSummary
    timestamp: int


class Inbound(Answer):
    """A VLESS inbound of config.json."""

    tag: str
    port: int
    client_count: int
    uuids: tuple[str, ...]
    short_ids: tuple[str, ...]
    dest: str | None = None
    server_names: tuple[str, ...] = ()


class XrayInbounds(Answer):
    """The VLESS inbounds of config.json."""

    inbounds: tuple[Inbound, ...]
    timestamp: int
    source: str


class ShortIdFix(Answer):
    """A key whose short id was put right."""

    uuid: str
    name: str | None = None
    old_short_id: str | None = None
    new_short_id: str | None = None


class ShortIdSync(Answer):
    """The short ids that were put right."""

    success: bool | None = None
    fixed_count: int = 0
    fixed_keys: tuple[ShortIdFix, ...] = ()


class XraySynced(Answer):
    """config.json follows the database, and Xray was started anew with it."""

    message: str
    status: str
    short_id_sync: ShortIdSync
    timestamp: int


class XrayValidated(Answer):
    """The database compared with config.json and the running Xray."""

    validation: SyncValidation
    timestamp: int
