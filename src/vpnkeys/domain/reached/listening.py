"""Parses the addresses on which this server listens."""

from ipaddress import ip_address
from typing import NamedTuple

from vpnkeys.domain.portpool import is_port
from vpnkeys.domain.reached.names import is_ip


class Address(NamedTuple):
    """An IP address and a port."""

    host: str
    port: int


def parse_address(value: object) -> Address:
    """Return an IP address and a port. Raises ValueError."""
    host, _, port = str(value).rpartition(":")
    host = host.strip("[]")
    if not is_port(port) or not is_ip(host):
        msg = "give an IP address and a port, such as 0.0.0.0:8000 or [::]:8000"
        raise ValueError(msg)
    return Address(host, int(port))


def parse_ip(value: object) -> str:
    """Return an IP address as it is usually written. Raises ValueError."""
    if not is_ip(str(value)):
        msg = "give an IP address, such as 0.0.0.0 or ::"
        raise ValueError(msg)
    return str(ip_address(str(value)))
