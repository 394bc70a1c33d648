"""`vpnkeys agent`: runs a node of a control plane, and joins one."""

from vpnkeys.cli.commands.agent.running import app

__all__ = ["app"]
