"""What the system endpoints say over the wire. `timestamp` is in Unix seconds everywhere here."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from vpnkeys.domain.inbound import ForeignInbound
from vpnkeys.domain.target import TargetReport
from vpnkeys.service.report import Comparison, ShortIdMismatch, SyncReport

Timestamp = Annotated[int, Field(description="Unix seconds", examples=[1734883200])]


class ComparisonOut(BaseModel):
    """How one side differs from the database, by key UUID; `different` names the settings that differ."""

    synced: bool
    missing: list[str]
    extra: list[str]
    different: list[str]
    settings: dict[str, list[str]]
    reachable: bool = True

    @classmethod
    def of(cls, comparison: Comparison | None) -> Self:
        """A comparison; None is a side that does not answer."""
        if comparison is None:
            return cls(synced=False, missing=[], extra=[], different=[], settings={}, reachable=False)
        return cls(
            synced=comparison.synced,
            missing=list(comparison.missing),
            extra=list(comparison.extra),
            different=list(comparison.different),
            settings={name: list(settings) for name, settings in comparison.different.items()},
        )


class ShortIdMismatchOut(BaseModel):
    """A key whose short id in config.json is another one."""

    uuid: str
    name: str
    db_short_id: str
    config_short_id: str


class Validation(BaseModel):
    """Database, config.json and running Xray, compared."""

    synced: bool
    synchronized: bool
    uuid_synced: bool
    short_id_synced: bool
    keys_count: int
    config_count: int
    total_keys: int
    total_config_clients: int
    key_uuids: list[str]
    config_uuids: list[str]
    missing_in_config: list[str]
    extra_in_config: list[str]
    short_id_mismatches: list[ShortIdMismatchOut]
    short_id_mismatches_count: int
    config: Annotated[ComparisonOut, Field(description="config.json against the database, setting by setting")]
    runtime: Annotated[ComparisonOut, Field(description="the running Xray against the database")]
    problem: Annotated[str, Field(description="why config.json cannot be read; empty when it can")]

    @classmethod
    def of(cls, report: SyncReport) -> Self:
        """The comparison as the API shows it."""
        return cls(
            synced=report.file.synced,
            synchronized=report.file.synced,
            uuid_synced=report.uuid_synced,
            short_id_synced=not report.short_id_mismatches,
            keys_count=len(report.key_uuids),
            config_count=len(report.config_uuids),
            total_keys=len(report.key_uuids),
            total_config_clients=len(report.config_uuids),
            key_uuids=list(report.key_uuids),
            config_uuids=list(report.config_uuids),
            missing_in_config=list(report.file.missing),
            extra_in_config=list(report.file.extra),
            short_id_mismatches=[mismatch_out(mismatch) for mismatch in report.short_id_mismatches],
            short_id_mismatches_count=len(report.short_id_mismatches),
            config=ComparisonOut.of(report.file),
            runtime=ComparisonOut.of(report.runtime),
            problem=report.problem,
        )


def mismatch_out(mismatch: ShortIdMismatch) -> ShortIdMismatchOut:
    """A mismatch as the API shows it."""
    return ShortIdMismatchOut(
        uuid=mismatch.uuid,
        name=mismatch.name,
        db_short_id=mismatch.db_short_id,
        config_short_id=mismatch.config_short_id,
    )


class Synced(BaseModel):
    """config.json and the running Xray are what the database says."""

    message: Literal["Configuration synchronized successfully"] = "Configuration synchronized successfully"
    status: Literal["synced"] = "synced"
    validation: Validation
    timestamp: Timestamp


class ConfigStatus(BaseModel):
    """Database against config.json."""

    synchronized: bool
    keys_json_count: int
    config_json_count: int
    keys_json_uuids: list[str]
    config_json_uuids: list[str]
    validation: Validation
    timestamp: Timestamp


class TargetOut(BaseModel):
    """A REALITY target."""

    server_name: str
    target: str
    usable: bool
    problems: list[str]
    warnings: list[str]

    @classmethod
    def of(cls, report: TargetReport) -> Self:
        """A report as the API shows it."""
        return cls(
            server_name=report.server_name,
            target=report.target,
            usable=report.is_usable,
            problems=list(report.problems),
            warnings=list(report.warnings),
        )


class Verified(BaseModel):
    """REALITY settings are right, and this is how the targets are."""

    message: Literal["Reality settings verified and updated successfully"] = (
        "Reality settings verified and updated successfully"
    )
    status: Literal["verified"] = "verified"
    repaired: Annotated[list[str], Field(description="tags of the inbounds that were put right in the running Xray")]
    config_rewritten: bool
    targets: list[TargetOut]
    warnings: list[str]
    timestamp: Timestamp


class XrayConfig(BaseModel):
    """config.json in numbers; `config_valid` is Xray's own word."""

    status: Literal["ok", "error"]
    total_inbounds: int
    vless_inbounds: int
    api_inbound: bool
    api_inbounds: int
    port_assignments: Annotated[dict[str, str], Field(description="port to UUID, as in config.json")]
    config_valid: bool
    error: str
    timestamp: Timestamp


class XrayConfigStatus(BaseModel):
    """config.json, checked."""

    config_status: XrayConfig
    timestamp: Timestamp


class XrayInbound(BaseModel):
    """A VLESS inbound of config.json."""

    tag: str
    port: int | None
    client_count: int
    uuids: list[str]
    short_ids: list[str]
    dest: str
    server_names: list[str]

    @classmethod
    def of(cls, inbound: ForeignInbound) -> Self:
        """An inbound as the API shows it."""
        return cls(
            tag=inbound.tag,
            port=inbound.port,
            client_count=len(inbound.uuids),
            uuids=list(inbound.uuids),
            short_ids=list(inbound.short_ids),
            dest=inbound.target,
            server_names=list(inbound.server_names),
        )


class XrayInbounds(BaseModel):
    """The VLESS inbounds of config.json."""

    inbounds: list[XrayInbound]
    timestamp: Timestamp
    source: Literal["config.json"] = "config.json"


class ShortIdSync(BaseModel):
    """The short ids that were wrong in config.json and are right now."""

    success: bool
    fixed_count: int
    fixed_keys: list[dict[str, str]]


class XraySynced(BaseModel):
    """config.json is right and Xray was restarted with it."""

    message: Literal["Xray configuration synchronized successfully"] = "Xray configuration synchronized successfully"
    status: Literal["synced"] = "synced"
    short_id_sync: ShortIdSync
    timestamp: Timestamp


class XrayValidation(BaseModel):
    """Everything, compared."""

    validation: Validation
    timestamp: Timestamp


class RealityFixed(BaseModel):
    """The stored key pair is in config.json and Xray was restarted with it."""

    status: Literal["fixed"] = "fixed"
    message: Literal["Reality keys fixed successfully"] = "Reality keys fixed successfully"
    timestamp: Timestamp
