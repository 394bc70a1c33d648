"""The command line."""

from vpnkeys.cli.main import main

__all__ = ["main"]
