"""Converts inbounds to and from the JSON of config.json, and merges our parts into an operator's document.

`render_inbound` and `parse_inbound` are inverses. `merge` leaves the operator's own sections as they are.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vpnkeys.domain.inbound import WARM_TAG_PREFIX, AnyInbound, ForeignInbound, Inbound, Reality, VlessClient
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import UNLIMITED, FallbackLimit, pad_short_id
from vpnkeys.memo import Memo
from vpnkeys.xray.config.egress import (
    API_TAG,
    OWN_PREFIX,
    BaseConfig,
    JsonObject,
    foreign_rules,
    last_rules,
    list_in,
    object_in,
    outbounds_of,
    rules_of,
    with_dns,
)


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
                **_limit("limitFallbackUpload", inbound.reality.fallback_up),
                **_limit("limitFallbackDownload", inbound.reality.fallback_down),
            },
        },
    }


def _limit(name: str, limit: FallbackLimit) -> JsonObject:
    return {name: {"afterBytes": limit.after_bytes, "bytesPerSec": limit.bytes_per_s}} if limit.bytes_per_s else {}


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
            fallback_up=_parse_limit(reality, "limitFallbackUpload"),
            fallback_down=_parse_limit(reality, "limitFallbackDownload"),
        ),
    )


def _parse_limit(reality: Mapping[str, Any], name: str) -> FallbackLimit:
    if name not in reality:
        return UNLIMITED
    return FallbackLimit(_whole(reality[name]["afterBytes"]), _whole(reality[name]["bytesPerSec"]))


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
    settings = object_in(raw.get("settings"))
    reality = object_in(object_in(raw.get("streamSettings")).get("realitySettings"))
    is_vless = raw.get("protocol") == "vless"
    clients = list_in(settings.get("clients")) if is_vless else []
    return ForeignInbound(
        tag=str(raw.get("tag", "")),
        port=_port(raw.get("port")),
        protocol=str(raw.get("protocol", "")),
        uuids=tuple(str(object_in(client).get("id", "")) for client in clients),
        short_ids=tuple(pad_short_id(str(short_id)) for short_id in list_in(reality.get("shortIds"))),
        target=str(reality.get("target") or reality.get("dest") or ""),
        server_names=tuple(map(str, list_in(reality.get("serverNames")))),
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
    policy = object_in(document.get("policy"))
    levels = object_in(policy.get("levels"))
    routing = object_in(document.get("routing"))
    foreign = [raw for raw in list_in(document.get("inbounds")) if not belongs_to_us(object_in(raw))]
    outbounds = outbounds_of(list_in(document.get("outbounds")), base)
    return {
        "log": {"loglevel": "warning", "access": "none"},
        **with_dns(document, base),
        "api": {"tag": API_TAG, "services": ["HandlerService", "StatsService"]},
        "stats": {},
        "policy": {**policy, "levels": {**levels, "0": {**object_in(levels.get("0")), **_COUNTERS}}},
        "routing": {
            **routing,
            # Resolves a name as soon as a rule by address is reached, so that names cannot evade those rules.
            "domainStrategy": "IPOnDemand",
            "rules": [*rules_of(base, ours), *foreign_rules(routing), *last_rules(base, outbounds)],
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
