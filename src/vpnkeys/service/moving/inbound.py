"""Reads an Xray inbound of another panel, which customers share."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from vpnkeys.domain.moving import SharedInbound
from vpnkeys.domain.nodes.door import whole_short_ids
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.legacy.values import parse_port, parse_server_name, parse_short_id

_TCP = frozenset({"", "tcp", "raw"})


def read_inbound(  # noqa: PLR0913, PLR0917 - what panels keep apart
    tag: str, protocol: object, port: object, listen: object, stream: Mapping[str, Any], host: str = ""
) -> SharedInbound:
    """Return the inbound. Raises ValueError, with why its customers cannot be imported."""
    if protocol != "vless":
        msg = f"its protocol is {protocol}, and only VLESS with REALITY is imported"
        raise ValueError(msg)
    if (security := stream.get("security") or "none") != "reality":
        msg = f"its security is {security}, and only VLESS with REALITY is imported"
        raise ValueError(msg)
    found = stream.get("realitySettings")
    reality: Mapping[str, Any] = found if isinstance(found, dict) else {}
    shown = reality.get("settings")
    shown = shown if isinstance(shown, dict) else {}  # what 3x-ui puts into links
    try:
        pair = KeyPair.of_private(str(reality.get("privateKey", "")).strip().rstrip("="))
        number = parse_port(port)
    except ValueError as error:
        msg = f"its port or privateKey is damaged ({error})"
        raise ValueError(msg) from error
    target = _target(reality)
    return SharedInbound(
        tag=tag,
        port=number,
        key_pair=pair,
        short_ids=_fit(reality.get("shortIds"), parse_short_id),
        server_names=_fit(reality.get("serverNames"), parse_server_name),
        host=host or _address(listen),
        is_tcp=str(stream.get("network") or "") in _TCP,
        fingerprint=str(shown.get("fingerprint", "")),
        listen=_address(listen),
        target=target,
        door_short_ids=_door_short_ids(reality.get("shortIds")),
        no_door=_obstacle(target, listen, stream, reality),
    )


def _target(reality: Mapping[str, Any]) -> str:
    """Return the target of an inbound; "" when it is no host and port."""
    target = reality.get("target") or reality.get("dest") or ""
    host, _, port = target.rpartition(":") if isinstance(target, str) else ("", "", str(target))
    return f"{host or 'localhost'}:{port}" if port.isascii() and port.isdecimal() else ""


def _obstacle(target: str, listen: object, stream: Mapping[str, Any], reality: Mapping[str, Any]) -> str:
    """Return why there can be no door like this inbound, as the end of a sentence; "" when there can."""
    sections = [stream.get(name) for name in ("tcpSettings", "rawSettings", "sockopt")]
    if str(stream.get("network") or "") not in _TCP:
        return "its transport is not TCP"
    if not target:
        return "its target is no host and port"
    if reality.get("xver") or any(isinstance(one, dict) and one.get("acceptProxyProtocol") for one in sections):
        return "it needs the PROXY protocol"
    return "" if _is_address(listen) else "it listens on no IP address"


def _door_short_ids(found: object) -> tuple[str, ...]:
    """Return all short ids with all their digits; that of links without one has only zeros."""
    return whole_short_ids(("", *_fit(found, parse_short_id)) if _has_empty(found) else _fit(found, parse_short_id))


def _has_empty(found: object) -> bool:
    return isinstance(found, list) and any(value == "" for value in found)


def _is_address(listen: object) -> bool:
    """Return whether an inbound listens on an IP address, or on all of them."""
    try:
        return not listen or bool(ip_address(str(listen)))
    except ValueError:
        return False


def _fit(found: object, parse: Any) -> tuple[str, ...]:  # noqa: ANN401 - a parser of text
    """Return the values that can be used here, in order; an empty short id is no id of its own."""
    fit: dict[str, None] = {}
    for value in found if isinstance(found, list) else ():
        try:
            if value:
                fit[parse(value)] = None
        except ValueError:
            continue
    return tuple(fit)


def _address(listen: object) -> str:
    """Return the address that an inbound listens on, "" when that is all of them."""
    try:
        address = ip_address(listen if isinstance(listen, str) else "")
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)
