"""`/api/system`: what is, and repairs."""

import time

from fastapi import APIRouter, Depends

from vpnkeys.api.convert.system import fix_answer, inbound_answer, move_answer, target_answer, validation_answer
from vpnkeys.api.deps import ServerDep, administering, limited, reading
from vpnkeys.api.problems import problems
from vpnkeys.service.report import XrayFileReport
from vpnkeys.wire.ports import AssignedPort, Ports, PortsReset, PortsStatus, PortsValidation, PortTable, UsedPort
from vpnkeys.wire.system import (
    ConfigStatus,
    RealityFixed,
    RealityVerified,
    ShortIdSync,
    Synced,
    XrayConfigStatus,
    XrayConfigSummary,
    XrayInbounds,
    XraySynced,
    XrayValidated,
)

router = APIRouter(
    prefix="/api/system",
    tags=["system"],
    dependencies=[reading],
    responses=problems(401, 429, 500, 503),
)


def _now() -> int:
    return int(time.time())


@router.post("/sync-config", dependencies=[administering, Depends(limited("sync"))])
def sync_config(server: ServerDep) -> Synced:
    """Bring config.json and the running Xray to the database, without a restart."""
    server.system.sync()
    return Synced(
        message="Configuration synchronized successfully",
        status="synced",
        validation=validation_answer(server.reporter.sync()),
        timestamp=_now(),
    )


@router.get("/config-status")
def config_status(server: ServerDep) -> ConfigStatus:
    """Whether config.json is what the database says."""
    report = server.reporter.sync()
    return ConfigStatus(
        synchronized=report.file.synced,
        keys_json_count=len(report.key_uuids),
        config_json_count=len(report.config_uuids),
        keys_json_uuids=report.key_uuids,
        config_json_uuids=report.config_uuids,
        validation=validation_answer(report),
        timestamp=_now(),
    )


@router.post("/verify-reality", dependencies=[administering])
def verify_reality(server: ServerDep) -> RealityVerified:
    """Compare every REALITY setting with the database, repair what differs, and look at every target."""
    done, targets = server.system.verify_reality()
    return RealityVerified(
        message="Reality settings verified and updated successfully",
        status="verified",
        repaired=tuple(inbound.tag for inbound in done.add),
        config_rewritten=done.file is not None,
        targets=tuple(target_answer(target) for target in targets),
        warnings=tuple(line for target in targets for line in (*target.problems, *target.warnings)),
        timestamp=_now(),
    )


@router.get("/ports")
async def ports(server: ServerDep) -> Ports:
    """Which key has which port."""
    keys = sorted(server.keys.list(), key=lambda key: key.port)
    pool = server.keys.pool
    moments = [key.port_assigned_at or key.created_at for key in keys]
    return Ports(
        port_assignments=PortTable(
            used_ports={
                str(key.port): UsedPort(
                    uuid=key.uuid, key_id=key.id, key_name=key.name, assigned_at=at, is_active=key.is_active
                )
                for key, at in zip(keys, moments, strict=True)
            },
            port_assignments={
                key.uuid: AssignedPort(port=key.port, key_id=key.id, key_name=key.name, assigned_at=at)
                for key, at in zip(keys, moments, strict=True)
            },
            created_at=min(moments, default=None),
            last_updated=max(moments, default=None),
        ),
        used_ports=len(keys),
        available_ports=len(set(pool.ports) - {key.port for key in keys}),
        max_ports=len(pool),
        port_range=str(pool),
        timestamp=_now(),
    )


@router.post("/ports/reset", dependencies=[administering], responses=problems(400))
def reset_ports(server: ServerDep) -> PortsReset:
    """Hand out all ports again from the bottom; a key whose port stays keeps its connections."""
    return PortsReset(
        message="All ports reset successfully",
        status="reset",
        changed=tuple(move_answer(move) for move in server.system.reset_ports()),
        timestamp=_now(),
    )


@router.get("/ports/status")
def ports_status(server: ServerDep) -> PortsStatus:
    """What is wrong with ports, found on this host."""
    issues = tuple(server.reporter.port_issues())
    keys = server.keys.list()
    return PortsStatus(
        validation=PortsValidation(
            valid=not issues,
            issues=issues,
            total_assignments=len(keys),
            total_used_ports=len({key.port for key in keys}),
        ),
        timestamp=_now(),
    )


@router.get("/xray/config-status")
def xray_config_status(server: ServerDep) -> XrayConfigStatus:
    """config.json by itself, with Xray's own verdict."""
    return XrayConfigStatus(config_status=_xray_config(server.reporter.xray_file()), timestamp=_now())


def _xray_config(report: XrayFileReport) -> XrayConfigSummary:
    return XrayConfigSummary(
        status="error" if report.refusal else "ok",
        total_inbounds=report.total_inbounds,
        vless_inbounds=len(report.inbounds),
        api_inbound=report.api_inbounds > 0,
        api_inbounds=report.api_inbounds,
        port_assignments={str(inbound.port): inbound.uuids[0] for inbound in report.inbounds if inbound.uuids},
        config_valid=not report.refusal,
        error=report.refusal,
        timestamp=_now(),
    )


@router.get("/xray/inbounds")
def xray_inbounds(server: ServerDep) -> XrayInbounds:
    """The VLESS inbounds of config.json."""
    report = server.reporter.inbounds()
    return XrayInbounds(
        inbounds=tuple(inbound_answer(inbound) for inbound in report), timestamp=_now(), source="config.json"
    )


@router.post("/xray/sync-config", dependencies=[administering])
def xray_sync_config(server: ServerDep) -> XraySynced:
    """Rewrite config.json and restart Xray, with no byte lost. Answers when clients get through again."""
    fixed = tuple(fix_answer(mismatch) for mismatch in server.system.sync_and_restart())
    return XraySynced(
        message="Xray configuration synchronized successfully",
        status="synced",
        short_id_sync=ShortIdSync(success=True, fixed_count=len(fixed), fixed_keys=fixed),
        timestamp=_now(),
    )


@router.get("/xray/validate-sync")
def xray_validate_sync(server: ServerDep) -> XrayValidated:
    """Database, config.json and running Xray, compared at this moment."""
    return XrayValidated(validation=validation_answer(server.reporter.sync()), timestamp=_now())


@router.post("/fix-reality-keys", dependencies=[administering])
def fix_reality_keys(server: ServerDep) -> RealityFixed:
    """Put the stored key pair back into config.json and restart Xray, with no byte lost."""
    server.system.fix_reality_keys()
    return RealityFixed(message="Reality keys fixed successfully", status="fixed", timestamp=_now())
