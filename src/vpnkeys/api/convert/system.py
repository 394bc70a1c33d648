"""Converts comparisons, targets, moves of ports and the overview to answers."""

from datetime import datetime

from vpnkeys.domain.inbound import ForeignInbound
from vpnkeys.domain.target import TargetUse
from vpnkeys.service.health.overview import Moment, Overview
from vpnkeys.service.report import Comparison, ShortIdMismatch, SyncReport
from vpnkeys.service.system import Move
from vpnkeys.wire import plans, system


def comparison_answer(comparison: Comparison | None) -> system.Comparison:
    """Return a comparison as the API shows it; None stands for an Xray that does not answer."""
    if comparison is None:
        # Not in sync, because nobody knows: a monitor that watches `synced` should notice a silent Xray.
        return system.Comparison(synced=False, missing=(), extra=(), different=(), settings={}, reachable=False)
    return system.Comparison(
        synced=comparison.synced,
        missing=comparison.missing,
        extra=comparison.extra,
        different=tuple(comparison.different),
        settings=dict(comparison.different),
        reachable=True,
    )


def validation_answer(report: SyncReport) -> system.SyncValidation:
    """Return the comparison of database, config.json and running Xray as the API shows it."""
    mismatches = report.short_id_mismatches
    return system.SyncValidation(
        synced=report.file.synced,
        # Some values stand under two names, because clients of the 2.3 line read either.
        synchronized=report.file.synced,
        uuid_synced=report.uuid_synced,
        short_id_synced=not mismatches,
        keys_count=len(report.key_uuids),
        config_count=report.config_keys,
        total_keys=len(report.key_uuids),
        total_config_clients=len(report.config_uuids),
        key_uuids=report.key_uuids,
        config_uuids=report.config_uuids,
        missing_in_config=report.missing_keys,
        extra_in_config=report.extra_keys,
        short_id_mismatches=tuple(_mismatch_answer(mismatch) for mismatch in mismatches),
        short_id_mismatches_count=len(mismatches),
        config=comparison_answer(report.file),
        runtime=comparison_answer(report.runtime),
        problem=report.problem,
    )


def _mismatch_answer(mismatch: ShortIdMismatch) -> system.ShortIdMismatch:
    return system.ShortIdMismatch(
        uuid=mismatch.uuid,
        name=mismatch.name,
        db_short_id=mismatch.db_short_id,
        config_short_id=mismatch.config_short_id,
    )


def fix_answer(mismatch: ShortIdMismatch) -> system.ShortIdFix:
    """Return a short id that was put right as the API shows it."""
    return system.ShortIdFix(
        uuid=mismatch.uuid,
        name=mismatch.name,
        old_short_id=mismatch.config_short_id,
        new_short_id=mismatch.db_short_id,
    )


def inbound_answer(inbound: ForeignInbound) -> system.Inbound:
    """Return an inbound of config.json as the API shows it."""
    return system.Inbound(
        tag=inbound.tag,
        port=inbound.port,
        client_count=len(inbound.uuids),
        uuids=tuple(inbound.uuids),
        short_ids=tuple(inbound.short_ids),
        dest=inbound.target,
        server_names=tuple(inbound.server_names),
    )


def target_answer(used: TargetUse) -> plans.TargetState:
    """Return a REALITY target as the API shows it."""
    report = used.report
    return plans.TargetState(
        server_name=report.server_name,
        target=report.target,
        usable=report.is_usable,
        problems=tuple(report.problems),
        warnings=tuple(report.warnings),
        active_keys=len(used.keys),
        affected_keys=tuple(plans.AffectedKey(key_id=key.id, name=key.name) for key in used.affected),
    )


def move_answer(move: Move) -> plans.Move:
    """Return a key's change of ports as the API shows it."""
    key = move.key
    return plans.Move(key_id=key.id, uuid=key.uuid, name=key.name, old_port=move.old_port, new_port=key.port)


def host_answer(overview: Overview) -> system.HostLoad:
    """Return what the host has and uses as the API shows it."""
    host = overview.host
    return system.HostLoad(
        cpu_percent=_percent(host.cpu_share),
        cores=host.cores,
        memory_bytes=host.memory_bytes,
        memory_free_bytes=host.memory_free_bytes,
        disk_bytes=host.disk_bytes,
        disk_free_bytes=host.disk_free_bytes,
    )


def moment_answer(moment: Moment) -> system.Moment:
    """Return a moment of the last minutes as the API shows it."""
    return system.Moment(
        time=_to_second(moment.at),
        up_rate=round(moment.up_rate, 1),
        down_rate=round(moment.down_rate, 1),
        cpu_percent=_percent(moment.cpu_share),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _to_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
