"""The address of this host that links have when nobody has set one."""

import socket
from contextlib import suppress


def default_address() -> str:
    """Return the address that this host uses to reach the internet; 127.0.0.1 without a default route.

    Connecting a UDP socket makes the kernel choose the source address without sending anything.
    """
    # Addresses reserved for documentation (RFC 5737, RFC 3849): they have the default route, and no host has them.
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # A host without this protocol raises OSError too.
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"
