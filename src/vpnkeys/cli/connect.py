"""`vpnkeys help`: explains once what all commands have in common."""

from enum import StrEnum
from typing import Annotated

import typer

from vpnkeys.cli.output.plain import plain_lines

_CONNECT = """\
How a command reaches the server

On the server's own machine, as its user or root: nothing to set. Commands use the Unix socket in the data directory
(VPNKEYS_DATA_DIR; ./data, then /var/lib/vpnkeys).

From another machine, by the API:
  export VPNKEYS_URL=https://203.0.113.10:8000   # or --url
  export VPNKEYS_API_KEY=…                       # or --api-key, which other users of the machine can see; or a token
  export VPNKEYS_FINGERPRINT=6F:1C:…             # or --fingerprint: SHA-256 of the server's certificate
  export VPNKEYS_CA=ca.pem                       # or --ca, instead: PEM file of certificates to trust

Without fingerprint and CA file the system's authorities count. A server that they do not know is not spoken to; the
command shows its fingerprint and how to trust it.
"""


class Topic(StrEnum):
    """What can be explained."""

    CONNECT = "connect"


def explain(topic: Annotated[Topic, typer.Argument(help="What to explain.")] = Topic.CONNECT) -> None:
    """Explain how commands reach a server, with the options and variables that they all have.

    Exit codes: 0 done; 2 wrong command line.
    """
    print(plain_lines({Topic.CONNECT: _CONNECT}[topic]), end="")
