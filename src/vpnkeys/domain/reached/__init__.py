"""Parses what an operator says of how this server is reached."""

from vpnkeys.domain.reached.listening import Address, parse_address, parse_ip
from vpnkeys.domain.reached.names import is_ip, parse_domain, parse_host
from vpnkeys.domain.reached.proxies import caller_of, is_proxy
from vpnkeys.domain.reached.urls import HTTPS_PORT, Network, base_url, parse_networks, parse_public_url, prefix_of

__all__ = [
    "HTTPS_PORT",
    "Address",
    "Network",
    "base_url",
    "caller_of",
    "is_ip",
    "is_proxy",
    "parse_address",
    "parse_domain",
    "parse_host",
    "parse_ip",
    "parse_networks",
    "parse_public_url",
    "prefix_of",
]
