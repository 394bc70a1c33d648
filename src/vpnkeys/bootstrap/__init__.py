"""The only place that constructs: from settings to a server whose parts know each other."""

from vpnkeys.bootstrap.offline import collect_traffic, offline_store
from vpnkeys.bootstrap.server import Server, build

__all__ = ["Server", "build", "collect_traffic", "offline_store"]
