"""Names and addresses of this server."""

import re
from ipaddress import ip_address

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def is_ip(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def parse_host(value: object) -> str:
    """Return an address or a name in the form for links; a name in another script as clients look it up (IDNA).

    Raises ValueError.
    """
    host = _ascii(str(value).strip("[]")).removesuffix(".")
    if not is_ip(host) and _HOST.fullmatch(host.lower()) is None:
        msg = "give the address or name by which customers reach this server"
        raise ValueError(msg)
    return host


def parse_domain(value: object) -> str:
    """Return a name or address for which an authority can issue a certificate. Raises ValueError."""
    name = _ascii(str(value).strip("[]")).lower().removesuffix(".")
    if is_ip(name):
        if not ip_address(name).is_global:
            msg = f"no authority issues a certificate for {name}, which is not a public address"
            raise ValueError(msg)
        return str(ip_address(name))
    labels = name.split(".")
    if len(labels) < 2 or any(_LABEL.fullmatch(label) is None for label in labels):  # noqa: PLR2004 - a name and its zone
        msg = "give one public name of this server, such as vpn.example.com, or its public IP address"
        raise ValueError(msg)
    return name


def _ascii(name: str) -> str:
    """Return a name in ASCII: a label of another script becomes `xn--…` (RFC 5891). Raises ValueError."""
    if name.isascii():
        return name
    import idna  # noqa: PLC0415 - its tables take a megabyte, and most names are ASCII

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        msg = f"{name} is not a name that can be looked up: {error}"
        raise ValueError(msg) from error
