"""Merges our parts into an operator's config.json: `merge` leaves the operator's own sections as they are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

from vpnkeys.domain.inbound import WARM_TAG_PREFIX, Inbound
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.domain.networks import PRIVATE_NETWORKS, is_private, private_networks_without
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.config.pieces import JsonObject, render_inbound

API_TAG = "vpnkeys-api"
OWN_PREFIX = "vpnkeys-"
_DIRECT, _BLOCKED, _WARMED = "vpnkeys-direct", "vpnkeys-blocked", "vpnkeys-warmed"
_UDP, _DNS = "vpnkeys-udp", "vpnkeys-dns"  # only where the kernel does not filter marked packets

SELF_TEST_HOST = "self-test.vpnkeys.invalid"
"""A host name that routing leads to a blackhole with an HTTP answer: a self-test gets bytes without leaving Xray."""


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """The parts of config.json that do not depend on keys.

    `egress_allow` holds (cidr, port or None for all) that customers may reach. `own_addresses` are those of this host
    outside PRIVATE_NETWORKS, of which customers reach `api_port` only. `mark` is the mark of packets that Xray sends
    for customers, for the kernel's filter (`xray/host/guard.py`); None where there is no filter. `has_ipv4`: this
    host reaches the internet by IPv4.
    """

    api_socket: str
    pool: PortRange
    egress_allow: tuple[tuple[str, int | None], ...] = ()
    own_addresses: tuple[str, ...] = ()
    api_port: int | None = None
    mark: int | None = None
    has_ipv4: bool = True

    def lets_out(self, address: str, port: int) -> bool:
        """Return whether our own rules let customers reach an IP address and a TCP port."""
        there = ip_address(address)
        if isinstance(there, IPv6Address):
            there = there.ipv4_mapped or there
        if any(there in ip_network(cidr) and only in {None, port} for cidr, only in self.egress_allow):
            return True
        if is_private(there):
            return False
        return str(there) not in self.own_addresses or port == self.api_port


def belongs_to_us(raw: Mapping[str, Any]) -> bool:
    """Return whether an inbound is ours: its tag has one of our prefixes. All others are the operator's."""
    return str(raw.get("tag", "")).startswith((OWN_PREFIX, KEY_TAG_PREFIX, WARM_TAG_PREFIX))


def reserved_ports(document: JsonObject, pool: PortRange) -> dict[int, str]:
    """Return the ports of the range that the operator's own inbounds have, with their tags."""
    foreign = (raw for raw in document["inbounds"] if not belongs_to_us(raw))
    return {
        port: str(raw.get("tag", ""))
        for raw in foreign
        for ports in _ports(raw.get("port"))
        for port in range(max(ports.start, pool.first), min(ports.stop, pool.last + 1))
    }


def merge(document: JsonObject, base: BaseConfig, inbounds: Iterable[Inbound]) -> JsonObject:
    """Return the document with our parts replaced and everything else unchanged."""
    ours = tuple(inbounds)
    policy = object_in(document.get("policy"))
    levels = object_in(policy.get("levels"))
    routing = object_in(document.get("routing"))
    foreign = [raw for raw in list_in(document.get("inbounds")) if not belongs_to_us(object_in(raw))]
    outbounds = _outbounds(list_in(document.get("outbounds")), base)
    return {
        "log": {"loglevel": "warning", "access": "none"},
        **_with_dns(document, base),
        "api": {"tag": API_TAG, "services": ["HandlerService", "StatsService"]},
        "stats": {},
        "policy": {
            **policy,
            "levels": {**levels, "0": {**object_in(levels.get("0")), **_COUNTERS}},
            "system": {**object_in(policy.get("system")), **_COUNTERS_OF_OUTBOUNDS},
        },
        "routing": {
            **routing,
            # Resolves a name as soon as a rule by address is reached, so that names cannot evade those rules.
            "domainStrategy": "IPOnDemand",
            "rules": [*_rules(base, ours), *_foreign_rules(routing), *_last_rules(base, outbounds)],
        },
        "inbounds": [_api_inbound(base), *map(render_inbound, ours), *foreign],
        "outbounds": outbounds,
    }


_COUNTERS = {"statsUserUplink": True, "statsUserDownlink": True, "statsUserOnline": True}
_COUNTERS_OF_OUTBOUNDS = {"statsOutboundUplink": True, "statsOutboundDownlink": True}


def _api_inbound(base: BaseConfig) -> JsonObject:
    """Return the API's inbound, on a Unix socket with mode 0600: the API has no authentication."""
    # Nothing listens on the port, but with 0 the first call panics Xray (measured, 26.3.27).
    return {
        "tag": API_TAG,
        "listen": f"{base.api_socket},0600",
        "protocol": "dokodemo-door",
        "settings": {"address": "127.0.0.1", "port": 1, "network": "unix"},
    }


def _rules(base: BaseConfig, inbounds: Iterable[Inbound]) -> list[JsonObject]:
    """Return our routing rules, which stand before the operator's."""
    # The first match decides: the operator's exceptions (`egress_allow`) come before the blocks.
    warm = [inbound.tag for inbound in inbounds if inbound.tag.startswith(WARM_TAG_PREFIX)]
    return [
        {"ruleTag": f"{OWN_PREFIX}api", "inboundTag": [API_TAG], "outboundTag": API_TAG},
        *([{"ruleTag": f"{OWN_PREFIX}warm", "inboundTag": warm, "outboundTag": _WARMED}] if warm else []),
        {"ruleTag": f"{OWN_PREFIX}self-test", "domain": [f"full:{SELF_TEST_HOST}"], "outboundTag": _WARMED},
        *_allow_rules(base),
        {"ruleTag": f"{OWN_PREFIX}localhost", "domain": ["domain:localhost"], "outboundTag": _BLOCKED},
        {"ruleTag": f"{OWN_PREFIX}private", "ip": list(PRIVATE_NETWORKS), "outboundTag": _BLOCKED},
        *_own_address_rules(base),
    ]


def _allow_rules(base: BaseConfig) -> Iterable[JsonObject]:
    for index, (cidr, port) in enumerate(base.egress_allow):
        where: JsonObject = {"ip": [cidr]} | ({} if port is None else {"port": str(port)})
        if base.mark is None:
            yield {"ruleTag": f"{OWN_PREFIX}allow-{index}-udp", **where, "network": "udp", "outboundTag": _UDP}
        yield {"ruleTag": f"{OWN_PREFIX}allow-{index}", **where, "outboundTag": _DIRECT}


def _own_address_rules(base: BaseConfig) -> Iterable[JsonObject]:
    """Return the rules for this host's public addresses: the API's port is open, all others are blocked."""
    # Packets from this host to its own address pass no firewall rule for the outer interface.
    own = {"ip": list(base.own_addresses)}
    if base.own_addresses and base.api_port is not None:
        panel = {"port": str(base.api_port), "network": "tcp", "outboundTag": _DIRECT}
        yield {"ruleTag": f"{OWN_PREFIX}panel", **own, **panel}
    if base.own_addresses:
        yield {"ruleTag": f"{OWN_PREFIX}own", **own, "outboundTag": _BLOCKED}


def _last_rules(base: BaseConfig, outbounds: list[Any]) -> Iterable[JsonObject]:
    """Return the rule for UDP where the kernel does not filter, after the operator's rules and for our default only."""
    if base.mark is None and object_in(outbounds[0]).get("tag") == _DIRECT:
        yield {"ruleTag": f"{OWN_PREFIX}udp", "network": "udp", "outboundTag": _UDP}


def _foreign_rules(routing: JsonObject) -> list[Any]:
    return [
        rule
        for rule in list_in(routing.get("rules"))
        if not str(object_in(rule).get("ruleTag", "")).startswith(OWN_PREFIX)
    ]


def _outbounds(document: list[Any], base: BaseConfig) -> list[Any]:
    """Return the outbounds with ours at their present positions; a missing default outbound comes first."""
    # The first outbound is Xray's default, and an operator may have put another one there. Without a mark UDP has an
    # outbound of its own: freedom sends later packets of a session to any address that they name, but through
    # `dialerProxy` it sends all to the first one, which routing has checked: no full cone, and no hole (ADR 2). Both
    # dial by the answers of our `dns` section then, or not at all.
    resolved = {"settings": {"domainStrategy": "ForceIPv4v6" if base.has_ipv4 else "ForceIPv6v4"}}
    out = resolved if base.mark is None else {"streamSettings": {"sockopt": {"mark": base.mark}}}
    ours: dict[str, JsonObject] = {
        _DIRECT: {"tag": _DIRECT, "protocol": "freedom", **out},
        _BLOCKED: {"tag": _BLOCKED, "protocol": "blackhole"},
        _WARMED: {"tag": _WARMED, "protocol": "blackhole", "settings": {"response": {"type": "http"}}},
    }
    if base.mark is None:
        through = {"streamSettings": {"sockopt": {"dialerProxy": _DIRECT}}}
        ours[_UDP] = {"tag": _UDP, "protocol": "freedom", **resolved, **through}
    tags = [str(object_in(raw).get("tag", "")) for raw in document]
    kept = [ours.get(tag, raw) for raw, tag in zip(document, tags, strict=True) if tag in ours or tag != _UDP]
    first = [] if _DIRECT in tags else [ours[_DIRECT]]
    return [*first, *kept, *(ours[tag] for tag in ours if tag not in {*tags, _DIRECT})]


class Foreign(NamedTuple):
    """Parts of the operator's sections: ports of our range with their tags, and whether there is a `dns` section."""

    reserved: Mapping[int, str]
    has_dns: bool = False


def foreign_in(document: JsonObject, pool: PortRange) -> Foreign:
    """Return these parts of a document."""
    return Foreign(reserved_ports(document, pool), has_own_dns(document))


def has_own_dns(document: JsonObject) -> bool:
    """Return whether the operator has a `dns` section in config.json, by which Xray then resolves all names."""
    return "dns" in document and not _is_our_dns(document)


def _with_dns(document: JsonObject, base: BaseConfig) -> JsonObject:
    """Return the document with our `dns` section where the kernel filters nothing, and the operator has none."""
    # Routing resolves a name to check it, and freedom resolves it again to dial: a name that changes its answer between
    # the two leads anywhere. So both ask this section, which knows no private addresses (ADR 2). It does not know an
    # address that is allowed at one port either: the name may have been checked with another address, at another port.
    kept = {name: value for name, value in document.items() if name != "dns" or not _is_our_dns(document)}
    if base.mark is not None or "dns" in kept:
        return kept
    allowed = [cidr for cidr, port in base.egress_allow if port is None]
    closed = [*private_networks_without(allowed), *base.own_addresses]
    return {**kept, "dns": {"tag": _DNS, "servers": [{"address": "localhost", "unexpectedIPs": closed}]}}


def _is_our_dns(document: JsonObject) -> bool:
    return object_in(document.get("dns")).get("tag") == _DNS


def object_in(value: Any) -> JsonObject:  # noqa: ANN401 - any JSON
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_in(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def port_in(value: Any) -> int | None:  # noqa: ANN401 - any JSON
    """Return the first port of what an inbound has as its port; None when there is none."""
    return next((ports.start for ports in _ports(value)), None)


def _ports(value: Any) -> Iterator[range]:  # noqa: ANN401 - any JSON
    """Yield the ports of a number, a string or a list of ranges ("1000-2000,3000"), as config.json may have them."""
    if not isinstance(value, int | str):
        return
    for part in str(value).split(","):
        first, _, last = (end.strip() for end in part.partition("-"))
        if first.isdecimal() and (last or first).isdecimal():
            yield range(int(first), int(last or first) + 1)
