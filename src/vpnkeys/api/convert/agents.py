"""Converts what agents ask for and what they report."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from vpnkeys.api.convert.nodes import address_of, ports_of
from vpnkeys.domain.errors import InvalidChoice
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes import NodeRecord, Sighting
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.nodes.board import Used
from vpnkeys.service.nodes.reports import NodeReported, life_of
from vpnkeys.service.nodes.wanted import Wanted
from vpnkeys.wire import agents as wire

_NOTHING: Final[Mapping[str, Used]] = MappingProxyType({})


def desired_answer(
    wanted: Wanted, has: str = "", used: Mapping[str, Used] = _NOTHING, now: datetime | None = None
) -> wire.Desired:
    """Return what a node should have; without keys for one that has it, by its mark.

    `used` is what is known of the traffic of keys that have a limit, by account; `now` is this server's clock.
    """
    keys = () if wanted.mark == has else tuple(_wanted_key(key, used.get(key.account)) for key in wanted.keys)
    return wire.Desired(rev=wanted.mark, keys=keys, ticket=wanted.ticket, now=now)


def received_answer(
    wanted: Wanted, sent: wire.Report, *, token_is_old: bool, now: datetime | None = None
) -> wire.Received:
    """Return the answer to a report; it has the ticket that was sent while the agent needs no other one."""
    ticket = wanted.ticket_for(sent.rev, sent.ticket)
    return wire.Received(rev=wanted.mark, ticket=ticket, token_is_old=token_is_old, now=now)


def _wanted_key(key: Key, used: Used | None) -> wire.WantedKey:
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
        used_bytes=None if used is None else used.bytes,
        used_since=None if used is None else used.since,
    )


def joined_record(asked: wire.JoinRequest, record: NodeRecord) -> NodeRecord:
    """Return a node with what its agent said of it, where the operator has said nothing. Raises InvalidChoice.

    A machine that takes another one's place gets the key pair of that: links lead to it.
    """
    pair = KeyPair(record.private_key, record.public_key) if record.private_key else _pair_of(asked)
    return replace(
        record,
        address=record.address or address_of(asked.address),
        ports=record.ports or ports_of(asked.port_range),
        public_key=pair.public_key,
        private_key=pair.private_key,
    )


def _pair_of(asked: wire.JoinRequest) -> KeyPair:
    """Return the key pair of an agent; those of an earlier version say only the public half."""
    stated = KeyPair(asked.private_key, asked.public_key)
    try:
        is_one = not asked.private_key or KeyPair.of_private(asked.private_key) == stated
    except ValueError:
        is_one = False
    if not is_one:
        msg = "private_key: it does not belong to public_key; restore reality.json of the agent's data directory."
        raise InvalidChoice(msg)
    return stated


def report_of(sent: wire.Report) -> NodeReported:
    """Return a report as the use case takes it."""
    return NodeReported(
        mark=sent.rev,
        failed=sent.failed,
        sent_at=sent.now,
        lives=tuple(life_of(life.epoch, life.usage, life.sampled_at, has_ended=life.has_ended) for life in sent.lives),
        sighting=Sighting(sent.now, sent.version, sent.xray_version, sent.names),
        online=sent.online,
        ticket=sent.ticket,
        cpu_share=sent.cpu_share,
        began=sent.began,
    )
