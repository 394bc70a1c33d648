"""Converts what agents ask for and what they report."""

from vpnkeys.api.convert.nodes import address_of, ports_of
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes import NodeRecord, Sighting
from vpnkeys.service.nodes.board import Wanted
from vpnkeys.service.nodes.reports import NodeReported, life_of
from vpnkeys.wire import agents as wire


def desired_answer(wanted: Wanted) -> wire.Desired:
    """Return what a node should have."""
    return wire.Desired(rev=wanted.mark, keys=tuple(map(_wanted_key, wanted.keys)))


def _wanted_key(key: Key) -> wire.WantedKey:
    limits = key.limits
    return wire.WantedKey(
        id=key.id,
        uuid=key.uuid,
        account=key.account,
        created_at=key.created_at,
        is_active=key.is_active,
        port=key.port,
        short_id=key.short_id,
        sni=key.sni,
        flow=key.flow,
        expires_at=limits.expires_at,
        expires_after_s=limits.expires_after_s,
        traffic_limit_bytes=limits.traffic_bytes,
        traffic_limit_window=str(limits.traffic_window),
        max_devices=limits.max_devices,
        speed_limit_mbps=limits.speed_mbps,
    )


def joined_record(asked: wire.JoinRequest, record: NodeRecord) -> NodeRecord:
    """Return a node with what its agent said of it, where the operator has said nothing. Raises InvalidChoice."""
    return NodeRecord(
        record.ref,
        record.group,
        record.weight,
        record.max_keys,
        address=record.address or address_of(asked.address),
        ports=record.ports or ports_of(asked.port_range),
        public_key=asked.public_key,
    )


def report_of(sent: wire.Report) -> NodeReported:
    """Return a report as the use case takes it."""
    return NodeReported(
        mark=sent.rev,
        failed=sent.failed,
        sent_at=sent.now,
        lives=tuple(life_of(life.epoch, life.usage, life.sampled_at, has_ended=life.has_ended) for life in sent.lives),
        sighting=Sighting(sent.now, sent.version, sent.xray_version, sent.names),
        online=sent.online,
    )
