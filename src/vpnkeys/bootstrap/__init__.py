"""Constructs a server from its settings. No other room constructs its parts."""

from vpnkeys.bootstrap.server import Server, build

__all__ = ["Server", "build"]
