"""Finds out whether customers can reach the address that this host guessed for its links."""

from ipaddress import ip_address

from vpnkeys.default_address import default_address
from vpnkeys.domain.networks import is_private
from vpnkeys.settings import Settings


def address_fault(settings: Settings) -> str:
    """Return what is wrong with a guessed `server_address`; an empty text when nothing is, or when it was given."""
    if not settings.guesses_address:
        return ""
    address, now = ip_address(settings.server_address), default_address()
    if address.is_loopback:
        away = "this host has no route to the internet"
        return (
            away
            if now == settings.server_address
            else f"{away.replace('has', 'had')} at the start; restart the service"
        )
    if is_private(address):
        return "it is a private one"
    # An address that is assigned only for a while changes under a running server, whose links keep the old one.
    return "" if now == settings.server_address else "this host has another one now"
