"""Serves `/api/system`: shows the state of database, config.json, Xray and ports, and repairs it."""

import time
from typing import Annotated

from fastapi import Query

from vpnkeys import __version__
from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.nodes import checked_parts, parts, port_part, port_table, synced_parts
from vpnkeys.api.convert.system import (
    fix_answer,
    host_answer,
    inbound_answer,
    moment_answer,
    move_answer,
    target_answer,
    validation_answer,
)
from vpnkeys.api.deps import AskedNodesDep, KeysDep, NodesDep, ReporterDep, ServicesDep, SummedNodesDep, SystemDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.services import Services
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.nodes import LOCAL, NodeState
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.service.report import XrayFileReport
from vpnkeys.wire.ports import Ports, PortsReset, PortsStatus, PortsValidation
from vpnkeys.wire.system import (
    ConfigStatus,
    OnlineNow,
    Overview,
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
    responses=problems(401, 404, 429, 500, 503),
)


def _now() -> int:
    return int(time.time())


@router.get("/overview")
@requires(Scope.READ, pool=Pool.SLOW)
def get_overview(services: ServicesDep, asked: SummedNodesDep) -> Overview:
    """Return the server at a glance: versions, host, who is online, and the last 15 minutes."""
    found = services.overview()
    return Overview(
        timestamp=_now(),
        version=__version__,
        xray_version=services.xray_version,
        uptime_seconds=services.health.report().uptime_s,
        server_address=services.site().server_address,
        certificate_expires_at=found.certificate_expires_at,
        newest_backup_at=found.newest_backup_at and found.newest_backup_at.replace(microsecond=0),
        host=host_answer(found),
        online=_online(services),
        recent=tuple(moment_answer(moment) for moment in found.recent),
        nodes=parts(asked),
    )


def _online(services: Services) -> OnlineNow | None:
    try:
        online = services.traffic.online_by_key(services.keys.list())
    except XrayUnavailable:
        return None
    return OnlineNow(keys=sum(devices > 0 for devices in online.values()), devices=sum(online.values()))


@router.post("/sync-config")
@requires(Scope.ADMIN, limit="sync", pool=Pool.SLOW)
def sync_config(reporter: ReporterDep, system: SystemDep, asked: AskedNodesDep) -> Synced:
    """Bring config.json and the running Xray to the database, without a restart."""
    # Compared again afterwards: the answer shows what is there now, and not what was planned.
    system.sync()
    report = reporter.sync()
    return Synced(
        message="Configuration synchronized successfully",
        status="synced",
        validation=validation_answer(report),
        timestamp=_now(),
        nodes=synced_parts(asked, synchronized=report.file.synced),
    )


@router.get("/config-status")
@requires(Scope.READ, pool=Pool.SLOW)
def config_status(reporter: ReporterDep, nodes: NodesDep, asked: SummedNodesDep) -> ConfigStatus:
    """Return whether config.json is what the database says; without a node here, whether all that are up follow."""
    report = reporter.sync()
    return ConfigStatus(
        synchronized=report.file.synced and (bool(asked) or nodes.are_synchronized()),
        # Named as in the 2.3 line, whose clients still read these fields.
        keys_json_count=len(report.key_uuids),
        config_json_count=report.config_keys,
        keys_json_uuids=report.key_uuids,
        config_json_uuids=report.config_uuids,
        validation=validation_answer(report),
        timestamp=_now(),
        nodes=synced_parts(asked, synchronized=report.file.synced),
    )


@router.post("/verify-reality")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def verify_reality(system: SystemDep, asked: AskedNodesDep) -> RealityVerified:
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
        nodes=parts(asked),
    )


@router.get("/ports")
@requires(Scope.READ, pool=Pool.SLOW)
def ports(keys: KeysDep, nodes: NodesDep, asked: SummedNodesDep) -> Ports:
    """Return which key has which port."""
    every = keys.list()
    pools = [(LOCAL, NodeState.UP, keys.pool)] if asked else nodes.pools_elsewhere()
    found = tuple(port_part(node, state, pool, every.on(node.id)) for node, state, pool in pools)
    return Ports(
        port_assignments=port_table(key for node, _, _ in pools for key in every.on(node.id)),
        used_ports=sum(part.used_ports for part in found),
        available_ports=sum(part.available_ports for part in found),
        max_ports=sum(part.max_ports for part in found),
        port_range=", ".join(part.port_range for part in found),
        timestamp=_now(),
        nodes=found,
    )


@router.post("/ports/reset", responses=problems(400))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def reset_ports(system: SystemDep, asked: AskedNodesDep) -> PortsReset:
    """Assign all ports again from the bottom of the range; a key whose port stays keeps its connections."""
    return PortsReset(
        message="All ports reset successfully",
        status="reset",
        changed=tuple(move_answer(move) for move in system.reset_ports()),
        timestamp=_now(),
        nodes=parts(asked),
    )


@router.get("/ports/status")
@requires(Scope.READ, pool=Pool.SLOW)
def ports_status(keys: KeysDep, reporter: ReporterDep, asked: AskedNodesDep) -> PortsStatus:
    """Return what is wrong with ports, as found on this host."""
    issues = tuple(reporter.port_issues())
    assigned = [key.port for key in keys.list().on(LOCAL.id)]
    return PortsStatus(
        validation=PortsValidation(
            valid=not issues,
            issues=issues,
            total_assignments=len(assigned),
            total_used_ports=len(set(assigned)),
        ),
        timestamp=_now(),
        nodes=checked_parts(asked, valid=not issues),
    )


@router.get("/xray/config-status")
@requires(Scope.READ, pool=Pool.SLOW)
def xray_config_status(reporter: ReporterDep, asked: AskedNodesDep) -> XrayConfigStatus:
    """Return config.json in numbers, and whether Xray accepts it."""
    report = reporter.xray_file()
    nodes = checked_parts(asked, valid=not report.refusal)
    return XrayConfigStatus(config_status=_xray_config(report), timestamp=_now(), nodes=nodes)


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
def xray_inbounds(reporter: ReporterDep, asked: AskedNodesDep) -> XrayInbounds:
    """Return the VLESS inbounds of config.json."""
    report = reporter.inbounds()
    return XrayInbounds(
        inbounds=tuple(inbound_answer(inbound) for inbound in report),
        timestamp=_now(),
        source="config.json",
        nodes=parts(asked),
    )


@router.post("/xray/sync-config")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def xray_sync_config(
    system: SystemDep,
    asked: AskedNodesDep,
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
        nodes=parts(asked),
    )


@router.get("/xray/validate-sync")
@requires(Scope.READ, pool=Pool.SLOW)
def xray_validate_sync(reporter: ReporterDep, asked: AskedNodesDep) -> XrayValidated:
    """Compare database, config.json and running Xray now."""
    report = reporter.sync()
    nodes = synced_parts(asked, synchronized=report.file.synced)
    return XrayValidated(validation=validation_answer(report), timestamp=_now(), nodes=nodes)


@router.post("/fix-reality-keys")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def fix_reality_keys(system: SystemDep, asked: AskedNodesDep) -> RealityFixed:
    """Put the stored key pair back into config.json and restart Xray; all traffic is counted unless Xray hangs."""
    system.fix_reality_keys()
    return RealityFixed(message="Reality keys fixed successfully", status="fixed", timestamp=_now(), nodes=parts(asked))
