"""Constructs a server from its settings. No other room constructs its parts."""

from vpnkeys.bootstrap.construction import build
from vpnkeys.bootstrap.server import Server

__all__ = ["Server", "build"]
