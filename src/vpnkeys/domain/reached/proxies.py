"""Finds out who sent a request that came by proxies."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

from vpnkeys.domain.reached.urls import Network

_Address = IPv4Address | IPv6Address
_WITH_PORT = re.compile(r"\[(?P<ipv6>[^\]]*)\](?::\d+)?|(?P<ipv4>[\d.]+):\d+")


def caller_of(peer: str, forwarded: str, proxies: Collection[Network]) -> str:
    """Return the address of a caller: the last one in X-Forwarded-For that is no proxy's, where `peer` is a proxy.

    Each proxy adds the address that the request came from at the end of the list; whatever stands before the address
    of the caller was sent by the caller. Where a proxy has added no address, its own is returned.
    """
    caller = _address(peer)
    for said in reversed([item for part in forwarded.split(",") if (item := part.strip())]):
        if caller is None or not _is_among(proxies, caller) or (before := _address(_without_port(said))) is None:
            break
        caller = before
    return peer if caller is None else str(caller)


def _without_port(text: str) -> str:
    match = _WITH_PORT.fullmatch(text)
    return (match["ipv6"] or match["ipv4"]) if match else text


def _address(text: str) -> _Address | None:
    """Return the address in a text, a mapped one as the IPv4 address that it stands for."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def is_proxy(text: str, proxies: Collection[Network]) -> bool:
    """Return whether a text is the address of a proxy."""
    address = _address(text) if proxies else None
    return address is not None and _is_among(proxies, address)


def _is_among(proxies: Collection[Network], address: _Address) -> bool:
    return any(address in network for network in proxies)
