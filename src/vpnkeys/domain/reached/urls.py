"""The base of this server's public addresses, and the proxies in front of it."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from vpnkeys.domain.forms.vless import host_in_url
from vpnkeys.domain.reached.names import parse_host

Network: TypeAlias = IPv4Network | IPv6Network

HTTPS_PORT = 443
_MAPPED_BITS = 96

# No segment begins with a dot: "." and ".." have meanings.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


def parse_public_url(value: object) -> str:
    """Return the base of public addresses, without a slash at its end. Raises ValueError."""
    try:
        url = urlsplit(str(value).rstrip("/"))
        host, port = parse_host(url.hostname or ""), url.port
    except ValueError:
        host, port, url = "", None, urlsplit("")
    if not host or url.scheme != "https" or url.query or url.fragment or "@" in url.netloc or not _is_prefix(url.path):
        msg = "give the base of the public addresses, such as https://vpn.example.com/panel"
        raise ValueError(msg)
    return f"{base_url(host, port or HTTPS_PORT)}{url.path}"


def prefix_of(public_url: str) -> str:
    """Return the path of a public URL, such as "/panel"; empty where it has none."""
    return urlsplit(public_url).path


def base_url(host: str, port: int) -> str:
    """Return the https URL of a host and port; without the port where it is the usual one."""
    return f"https://{host_in_url(host)}" + ("" if port == HTTPS_PORT else f":{port}")


def parse_networks(value: object) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list; an address alone is a network of one. Raises ValueError.

    A network of mapped addresses (::ffff:0:0/96) is the IPv4 network that it stands for.
    """
    items = [item.strip() for item in str(value).split(",") if item.strip()]
    try:
        return tuple(_unmapped(ip_network(item)) for item in items)
    except ValueError as error:
        msg = f"give addresses or networks, comma separated, such as 127.0.0.1,10.0.0.0/8: {error}"
        raise ValueError(msg) from error


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _is_prefix(path: str) -> bool:
    return _PREFIX.fullmatch(path) is not None
