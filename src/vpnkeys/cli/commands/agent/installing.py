"""Makes this host a node, with services of its own: `./run --agent-join`."""

from pathlib import Path
from typing import Annotated

import typer

from vpnkeys.cli.arguments import Yes
from vpnkeys.cli.commands.install import errors_reported
from vpnkeys.install.joining import Invitation, install_node
from vpnkeys.install.layout import Layout


def install(  # noqa: PLR0913 - one for each option
    url: Annotated[str, typer.Argument(metavar="URL", help="The control plane, https://host:port.")],
    *,
    token: Annotated[str, typer.Option("--token", help="The token that `vpnkeys nodes add` has printed.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Trust the certificate with this SHA-256 and no other.")
    ] = "",
    source: Annotated[
        Path, typer.Option("--source", help="The source tree.", show_default="the present directory")
    ] = Path(),
    xray: Annotated[
        Path | None,
        typer.Option(envvar="VPNKEYS_XRAY_BIN", help="The Xray program to copy; without it, one is found or fetched."),
    ] = None,
    without_nftables: Annotated[
        bool, typer.Option("--without-nftables", help="Install on a host that has no nftables.")
    ] = False,
    yes: Yes = False,  # noqa: ARG001 - it asks nothing; scripts may say so all the same
) -> None:
    """Install vpnkeys as services of this host, which becomes a node; as ./run --agent-join. It may be repeated.

    Exit codes: 0 done; 1 it failed; 2 wrong command line or settings; 3 the control plane does not answer, and nothing
    was changed.
    """
    with errors_reported("make this host a node") as progress:
        invitation = Invitation(url.rstrip("/"), token, fingerprint or None)
        install_node(Layout(), source.absolute(), xray, invitation, progress.say, without_nftables=without_nftables)
