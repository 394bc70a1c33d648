"""The only place that constructs: from settings to a server whose parts know each other."""

from vpnkeys.bootstrap.server import Server, build

__all__ = ["Server", "build"]
