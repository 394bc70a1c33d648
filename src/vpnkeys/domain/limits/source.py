"""Sources: which addresses belong to one customer."""

import ipaddress

_V6_SUBNET_BITS = 64
"""The prefix of one subnet (RFC 4291, 2.5.1): a customer has all of its addresses."""


def source_of(address: str) -> str:
    """Return the source that an address is counted under: the IPv4 address itself, or the IPv6 address's /64.

    Text that is no IP address, as for a Unix socket, is returned as it is.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    # Without a link-local address's scope ("%eth0"), which is no part of the subnet.
    plain = ipaddress.IPv6Address(int(parsed))
    return str(ipaddress.IPv6Network((plain, _V6_SUBNET_BITS), strict=False))


LOOPBACK = ("127.0.0.1", source_of("::1"))
"""The sources of this host itself, which Xray does not name when it says who is online."""
