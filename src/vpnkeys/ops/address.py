"""Finds out whether customers can reach the address that this host guessed for its links."""

from contextlib import suppress
from ipaddress import ip_address, ip_network

from vpnkeys.domain.networks import PRIVATE_NETWORKS
from vpnkeys.settings import Settings, default_address


def address_fault(settings: Settings) -> str:
    """Return what is wrong with a guessed `server_address`; an empty text when nothing is, or when it was given."""
    if not settings.guesses_address:
        return ""
    if _is_private(settings.server_address):
        return "it is a private one"
    # An address that is assigned only for a while changes under a running server, whose links keep the old one.
    return "" if default_address() == settings.server_address else "this host has another one now"


def _is_private(host: str) -> bool:
    with suppress(ValueError):  # a name is not a guess
        address = ip_address(host)
        return any(address in ip_network(network) for network in PRIVATE_NETWORKS)
    return False
