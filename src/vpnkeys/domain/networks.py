"""The networks to which this server sends nothing for others, and the origins of pages that may call it."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

# Metadata services of clouds, which give out credentials, where they are not link-local: Alibaba, Azure (its address is
# public, but each host of Azure has its own service there), Oracle; by IPv6 Scaleway, Linode, Oracle, AWS, Google.
_METADATA = (
    "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:42::42/128", "fd00:a9fe:a9fe::1/128",
    "fd00:c1::a9fe:a9fe/128", "fd00:ec2::/32", "fd20:ce::254/128",
)  # fmt: skip

# Forbidden for webhooks and customers alike: those; link-local, multicast and reserved ranges; IPv6 ranges with an IPv4
# address inside that nothing would check (6to4, Teredo, local NAT64).
_FOR_NOBODY = (
    *_METADATA, "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "64:ff9b:1::/48", "2001::/32", "2002::/16",
    "fe80::/10", "ff00::/8",
)  # fmt: skip

# Loopback, private networks, carrier-grade NAT, ranges for tests and documents. An operator may send webhooks there.
# An IPv4 address inside of `::/96` or NAT64 counts as itself for webhooks; customers have no need of either. Mapped
# addresses need no entry: Xray takes them as the IPv4 address that they are (`IPAddress` in common/net/address.go).
_NOT_FOR_CUSTOMERS = (
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "::/96", "64:ff9b::/96", "100::/64", "fc00::/7", "fec0::/10",
)  # fmt: skip


def _without_parts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the networks that are no part of another one, in the order of their addresses, IPv4 first."""
    networks = [ip_network(name) for name in names]
    whole = [one for one in networks if not any(one != other and _contains(other, one) for other in networks)]
    return tuple(map(str, sorted(whole, key=lambda one: (one.version, one.network_address.packed))))


def _contains(outer: IPv4Network | IPv6Network, inner: IPv4Network | IPv6Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer and outer.prefixlen <= inner.prefixlen


FORBIDDEN_TO_WEBHOOKS = tuple(map(ip_network, _FOR_NOBODY))
PRIVATE_NETWORKS = _without_parts((*_FOR_NOBODY, *_NOT_FOR_CUSTOMERS))
"""What customers must not reach, for Xray's routing and for nftables, which refuses overlapping networks."""

_PRIVATE = tuple(map(ip_network, PRIVATE_NETWORKS))


def is_private(address: IPv4Address | IPv6Address) -> bool:
    """Return whether customers must not reach an address."""
    return any(address in network for network in _PRIVATE)


_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the origins in a comma-separated text; `*` is any. Raises ValueError."""
    origins = tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
    for origin in origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            msg = f"give origins, comma separated, such as https://shop.example (no path), or *; not: {origin}"
            raise ValueError(msg)
    return origins


def private_networks_without(allowed: Iterable[str]) -> tuple[str, ...]:
    """Return PRIVATE_NETWORKS less these networks, in the order of their addresses, IPv4 first."""
    left = list(_PRIVATE)
    for hole in map(ip_network, allowed):
        left = [part for network in left for part in _less(network, hole)]
    return tuple(map(str, sorted(left, key=lambda one: (one.version, one.network_address.packed))))


def _less(network: IPv4Network | IPv6Network, hole: IPv4Network | IPv6Network) -> Iterable[IPv4Network | IPv6Network]:
    if _contains(hole, network):
        return ()
    if not _contains(network, hole):
        return (network,)
    return network.address_exclude(hole)  # type: ignore[arg-type]  # of one version, as one contains the other
