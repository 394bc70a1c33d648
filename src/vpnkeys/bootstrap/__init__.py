"""Constructs a server from its settings. No other room constructs its parts."""

from vpnkeys.bootstrap.construction import build
from vpnkeys.bootstrap.plane import ControlPlane, build_plane
from vpnkeys.bootstrap.server import Server

__all__ = ["ControlPlane", "Server", "build", "build_plane"]
