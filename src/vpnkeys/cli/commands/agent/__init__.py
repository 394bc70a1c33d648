"""`vpnkeys agent`: runs a node of a control plane, and joins one."""

from vpnkeys.cli.commands.agent.installing import install
from vpnkeys.cli.commands.agent.running import app

app.command("install")(install)

__all__ = ["app"]
