"""Serves `/api/system`: shows the state of database, config.json, Xray and ports, and repairs it."""

import time
from typing import Annotated

from fastapi import Query

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.system import fix_answer, inbound_answer, move_answer, target_answer, validation_answer
from vpnkeys.api.deps import KeysDep, ReporterDep, SystemDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
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

router = ApiRouter(
    prefix="/api/system",
    tags=["system"],
    responses=problems(401, 429, 500, 503),
)


def _now() -> int:
    return int(time.time())


@router.post("/sync-config")
@requires(Scope.ADMIN, limit="sync", pool=Pool.SLOW)
def sync_config(reporter: ReporterDep, system: SystemDep) -> Synced:
    """Bring config.json and the running Xray to the database, without a restart."""
    # Compared again afterwards: the answer shows what is there now, and not what was planned.
    system.sync()
    return Synced(
        message="Configuration synchronized successfully",
        status="synced",
        validation=validation_answer(reporter.sync()),
        timestamp=_now(),
    )


@router.get("/config-status")
@requires(Scope.READ, pool=Pool.SLOW)
def config_status(reporter: ReporterDep) -> ConfigStatus:
    """Return whether config.json is what the database says."""
    report = reporter.sync()
    return ConfigStatus(
        synchronized=report.file.synced,
        # Named as in the 2.3 line, whose clients still read these fields.
        keys_json_count=len(report.key_uuids),
        config_json_count=len(report.config_uuids),
        keys_json_uuids=report.key_uuids,
        config_json_uuids=report.config_uuids,
        validation=validation_answer(report),
        timestamp=_now(),
    )


@router.post("/verify-reality")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def verify_reality(system: SystemDep) -> RealityVerified:
    """Compare every REALITY setting with the database, repair what differs, and check every target."""
    done, targets = system.verify_reality()
    return RealityVerified(
        message="Reality settings verified and updated successfully",
        status="verified",
        repaired=tuple(inbound.tag for inbound in done.add),
        config_rewritten=done.file is not None,
        targets=tuple(target_answer(used) for used in targets),
        warnings=tuple(line for used in targets for line in (*used.report.problems, *used.report.warnings)),
        timestamp=_now(),
    )


@router.get("/ports")
@requires(Scope.READ)
async def ports(keys: KeysDep) -> Ports:
    """Return which key has which port."""
    by_port = sorted(keys.list(), key=lambda key: key.port)
    # A key that never moved has had its port since it was made.
    moments = [key.port_assigned_at or key.created_at for key in by_port]
    return Ports(
        port_assignments=PortTable(
            used_ports={
                str(key.port): UsedPort(
                    uuid=key.uuid, key_id=key.id, key_name=key.name, assigned_at=at, is_active=key.is_active
                )
                for key, at in zip(by_port, moments, strict=True)
            },
            port_assignments={
                key.uuid: AssignedPort(port=key.port, key_id=key.id, key_name=key.name, assigned_at=at)
                for key, at in zip(by_port, moments, strict=True)
            },
            created_at=min(moments, default=None),
            last_updated=max(moments, default=None),
        ),
        used_ports=len(by_port),
        available_ports=len(set(keys.pool.ports) - {key.port for key in by_port}),
        max_ports=len(keys.pool),
        port_range=str(keys.pool),
        timestamp=_now(),
    )


@router.post("/ports/reset", responses=problems(400))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def reset_ports(system: SystemDep) -> PortsReset:
    """Assign all ports again from the bottom of the range; a key whose port stays keeps its connections."""
    return PortsReset(
        message="All ports reset successfully",
        status="reset",
        changed=tuple(move_answer(move) for move in system.reset_ports()),
        timestamp=_now(),
    )


@router.get("/ports/status")
@requires(Scope.READ, pool=Pool.SLOW)
def ports_status(keys: KeysDep, reporter: ReporterDep) -> PortsStatus:
    """Return what is wrong with ports, as found on this host."""
    issues = tuple(reporter.port_issues())
    assigned = [key.port for key in keys.list()]
    return PortsStatus(
        validation=PortsValidation(
            valid=not issues,
            issues=issues,
            total_assignments=len(assigned),
            total_used_ports=len(set(assigned)),
        ),
        timestamp=_now(),
    )


@router.get("/xray/config-status")
@requires(Scope.READ, pool=Pool.SLOW)
def xray_config_status(reporter: ReporterDep) -> XrayConfigStatus:
    """Return config.json in numbers, and whether Xray accepts it."""
    return XrayConfigStatus(config_status=_xray_config(reporter.xray_file()), timestamp=_now())


def _xray_config(report: XrayFileReport) -> XrayConfigSummary:
    return XrayConfigSummary(
        status="error" if report.refusal else "ok",
        total_inbounds=report.total_inbounds,
        vless_inbounds=len(report.inbounds),
        api_inbound=report.api_inbounds > 0,
        api_inbounds=report.api_inbounds,
        # Each key has an inbound of its own, so that the first client is the only one.
        port_assignments={str(inbound.port): inbound.uuids[0] for inbound in report.inbounds if inbound.uuids},
        config_valid=not report.refusal,
        error=report.refusal,
        timestamp=_now(),
    )


@router.get("/xray/inbounds")
@requires(Scope.READ, pool=Pool.SLOW)
def xray_inbounds(reporter: ReporterDep) -> XrayInbounds:
    """Return the VLESS inbounds of config.json."""
    report = reporter.inbounds()
    return XrayInbounds(
        inbounds=tuple(inbound_answer(inbound) for inbound in report), timestamp=_now(), source="config.json"
    )


@router.post("/xray/sync-config")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def xray_sync_config(
    system: SystemDep,
    *,
    force: Annotated[bool, Query(description="restart in any case: share no restart of seconds ago")] = False,
) -> XraySynced:
    """Rewrite config.json and restart Xray; all traffic is counted unless Xray hangs. Answers when clients connect.

    Requests within five seconds share one restart.
    """
    done = system.sync_and_restart(may_share=not force)
    fixed = tuple(fix_answer(mismatch) for mismatch in done.short_ids)
    return XraySynced(
        message="Xray configuration synchronized successfully",
        status="synced",
        restarted=done.is_restarted,
        short_id_sync=ShortIdSync(success=True, fixed_count=len(fixed), fixed_keys=fixed),
        timestamp=_now(),
    )


@router.get("/xray/validate-sync")
@requires(Scope.READ, pool=Pool.SLOW)
def xray_validate_sync(reporter: ReporterDep) -> XrayValidated:
    """Compare database, config.json and running Xray now."""
    return XrayValidated(validation=validation_answer(reporter.sync()), timestamp=_now())


@router.post("/fix-reality-keys")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def fix_reality_keys(system: SystemDep) -> RealityFixed:
    """Put the stored key pair back into config.json and restart Xray; all traffic is counted unless Xray hangs."""
    system.fix_reality_keys()
    return RealityFixed(message="Reality keys fixed successfully", status="fixed", timestamp=_now())
