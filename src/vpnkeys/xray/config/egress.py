"""Says what Xray sends where: outbounds, routing rules and names, for customers and for the API.

Customers reach the internet, and nothing of this host and its networks. Reasons: docs/adr/0002-egress.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from vpnkeys.domain.inbound import WARM_TAG_PREFIX, Inbound
from vpnkeys.domain.networks import PRIVATE_NETWORKS, is_private, private_networks_without
from vpnkeys.domain.portpool import PortRange

JsonObject = dict[str, Any]

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


def rules_of(base: BaseConfig, inbounds: Iterable[Inbound]) -> list[JsonObject]:
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


def last_rules(base: BaseConfig, outbounds: list[Any]) -> Iterable[JsonObject]:
    """Return the rule for UDP where the kernel does not filter, after the operator's rules and for our default only."""
    if base.mark is None and object_in(outbounds[0]).get("tag") == _DIRECT:
        yield {"ruleTag": f"{OWN_PREFIX}udp", "network": "udp", "outboundTag": _UDP}


def foreign_rules(routing: JsonObject) -> list[Any]:
    """Return the operator's own routing rules."""
    return [
        rule
        for rule in list_in(routing.get("rules"))
        if not str(object_in(rule).get("ruleTag", "")).startswith(OWN_PREFIX)
    ]


def outbounds_of(document: list[Any], base: BaseConfig) -> list[Any]:
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


def has_own_dns(document: JsonObject) -> bool:
    """Return whether the operator has a `dns` section in config.json, by which Xray then resolves all names."""
    return "dns" in document and not _is_our_dns(document)


def with_dns(document: JsonObject, base: BaseConfig) -> JsonObject:
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
