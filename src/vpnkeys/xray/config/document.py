"""Converts inbounds to and from the JSON of config.json, and merges our parts into an operator's document.

`render_inbound` and `parse_inbound` are inverses. `merge` leaves the operator's own sections as they are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from vpnkeys.domain.inbound import WARM_TAG_PREFIX, AnyInbound, ForeignInbound, Inbound, Reality, VlessClient
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.domain.networks import PRIVATE_NETWORKS, is_private
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import pad_short_id
from vpnkeys.memo import Memo

JsonObject = dict[str, Any]

API_TAG = "vpnkeys-api"
OWN_PREFIX = "vpnkeys-"
_DIRECT, _BLOCKED, _WARMED = "vpnkeys-direct", "vpnkeys-blocked", "vpnkeys-warmed"
_UDP = "vpnkeys-udp"  # only where the kernel does not filter marked packets

SELF_TEST_HOST = "self-test.vpnkeys.invalid"
"""A host name that routing leads to a blackhole with an HTTP answer: a self-test gets bytes without leaving Xray."""


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """The parts of config.json that do not depend on keys.

    `egress_allow` holds (cidr, port or None for all) that customers may reach. `own_addresses` are those of this host
    outside PRIVATE_NETWORKS, of which customers reach `api_port` only. `mark` is the mark of packets that Xray sends
    for customers, for the kernel's filter (`xray/host/guard.py`); None where there is no filter.
    """

    api_socket: str
    pool: PortRange
    egress_allow: tuple[tuple[str, int | None], ...] = ()
    own_addresses: tuple[str, ...] = ()
    api_port: int | None = None
    mark: int | None = None

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


def render_inbound(inbound: Inbound) -> JsonObject:
    """Return the inbound as an element of config.json's `inbounds`."""
    address: JsonObject = {"listen": inbound.listen}
    if inbound.port is not None:
        address["port"] = inbound.port
    return {
        "tag": inbound.tag,
        **address,
        "protocol": "vless",
        "settings": {"clients": [_render_client(client) for client in inbound.clients], "decryption": "none"},
        "streamSettings": {
            "network": "raw",
            "security": "reality",
            "realitySettings": {
                "target": inbound.reality.target,
                "serverNames": list(inbound.reality.server_names),
                "privateKey": inbound.reality.private_key,
                # Never left out: an empty one shuts out mihomo from 26.7.11 on, and sing-box from 26.9.8 on.
                "minClientVer": inbound.reality.min_client_version,
                "shortIds": list(inbound.reality.short_ids),
            },
        },
    }


_rendered = Memo(render_inbound)
"""Renders each inbound once, as most are also in the next file. The results are shared: do not change them."""


def _render_client(client: VlessClient) -> JsonObject:
    return {"id": client.uuid, "email": client.email, "flow": client.flow}


def parse_inbound(raw: Mapping[str, Any]) -> AnyInbound:
    """Return the inbound that an element describes; a ForeignInbound when it has anything that we would not write."""
    try:
        inbound = _parse_inbound(raw)
        same = render_inbound(inbound) == raw
    except (KeyError, TypeError, AttributeError):
        return summary(raw)
    return inbound if same else summary(raw)


def _parse_inbound(raw: Mapping[str, Any]) -> Inbound:
    reality = raw["streamSettings"]["realitySettings"]
    return Inbound(
        tag=_text(raw["tag"]),
        listen=_text(raw["listen"]),
        port=_whole(raw["port"]) if "port" in raw else None,
        clients=tuple(
            VlessClient(_text(c["id"]), _text(c["email"]), _text(c["flow"])) for c in raw["settings"]["clients"]
        ),
        reality=Reality(
            target=_text(reality["target"]),
            server_names=tuple(map(_text, reality["serverNames"])),
            private_key=_text(reality["privateKey"]),
            short_ids=tuple(map(_text, reality["shortIds"])),
            min_client_version=_text(reality["minClientVer"]),
        ),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:  # noqa: ANN401 - any JSON
    """Return an integer. "10001", which Xray accepts too, 10001.0 and True, an int in Python, raise TypeError."""
    if type(value) is not int:
        raise TypeError
    return value


def summary(raw: Mapping[str, Any]) -> ForeignInbound:
    """Return the fields that matter of any inbound; fields of a wrong type count as empty."""
    settings = _object(raw.get("settings"))
    reality = _object(_object(raw.get("streamSettings")).get("realitySettings"))
    is_vless = raw.get("protocol") == "vless"
    clients = _list(settings.get("clients")) if is_vless else []
    return ForeignInbound(
        tag=str(raw.get("tag", "")),
        port=_port(raw.get("port")),
        protocol=str(raw.get("protocol", "")),
        uuids=tuple(str(_object(client).get("id", "")) for client in clients),
        short_ids=tuple(pad_short_id(str(short_id)) for short_id in _list(reality.get("shortIds"))),
        target=str(reality.get("target") or reality.get("dest") or ""),
        server_names=tuple(map(str, _list(reality.get("serverNames")))),
    )


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
    policy = _object(document.get("policy"))
    levels = _object(policy.get("levels"))
    routing = _object(document.get("routing"))
    foreign = [raw for raw in _list(document.get("inbounds")) if not belongs_to_us(_object(raw))]
    outbounds = _outbounds(_list(document.get("outbounds")), base)
    return {
        "log": {"loglevel": "warning", "access": "none"},
        **document,
        "api": {"tag": API_TAG, "services": ["HandlerService", "StatsService"]},
        "stats": {},
        "policy": {**policy, "levels": {**levels, "0": {**_object(levels.get("0")), **_COUNTERS}}},
        "routing": {
            **routing,
            # Resolves a name as soon as a rule by address is reached, so that names cannot evade those rules.
            "domainStrategy": "IPOnDemand",
            "rules": [*_rules(base, ours), *_foreign_rules(routing), *_last_rules(base, outbounds)],
        },
        "inbounds": [_api_inbound(base), *_rendered.map(ours), *foreign],
        "outbounds": outbounds,
    }


_COUNTERS = {"statsUserUplink": True, "statsUserDownlink": True, "statsUserOnline": True}


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
    if base.mark is None and _object(outbounds[0]).get("tag") == _DIRECT:
        yield {"ruleTag": f"{OWN_PREFIX}udp", "network": "udp", "outboundTag": _UDP}


def _foreign_rules(routing: JsonObject) -> list[Any]:
    return [
        rule for rule in _list(routing.get("rules")) if not str(_object(rule).get("ruleTag", "")).startswith(OWN_PREFIX)
    ]


def _outbounds(document: list[Any], base: BaseConfig) -> list[Any]:
    """Return the outbounds with ours at their present positions; a missing default outbound comes first."""
    # The first outbound is Xray's default, and an operator may have put another one there. Without a mark UDP has an
    # outbound of its own: freedom sends later packets of a session to any address that they name, but through
    # `dialerProxy` it sends all to the first one, which routing has checked: no full cone, and no hole (ADR 2).
    marked = {} if base.mark is None else {"streamSettings": {"sockopt": {"mark": base.mark}}}
    ours: dict[str, JsonObject] = {
        _DIRECT: {"tag": _DIRECT, "protocol": "freedom", **marked},
        _BLOCKED: {"tag": _BLOCKED, "protocol": "blackhole"},
        _WARMED: {"tag": _WARMED, "protocol": "blackhole", "settings": {"response": {"type": "http"}}},
    }
    if base.mark is None:
        through = {"streamSettings": {"sockopt": {"dialerProxy": _DIRECT}}}
        ours[_UDP] = {"tag": _UDP, "protocol": "freedom", **through}
    tags = [str(_object(raw).get("tag", "")) for raw in document]
    kept = [ours.get(tag, raw) for raw, tag in zip(document, tags, strict=True) if tag in ours or tag != _UDP]
    first = [] if _DIRECT in tags else [ours[_DIRECT]]
    return [*first, *kept, *(ours[tag] for tag in ours if tag not in {*tags, _DIRECT})]


def _object(value: Any) -> JsonObject:  # noqa: ANN401 - any JSON
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    return value if isinstance(value, list) else []


def _port(value: Any) -> int | None:  # noqa: ANN401 - any JSON
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
