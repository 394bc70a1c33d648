"""Moving in from another panel: what it has, and the links that it gave out."""

from vpnkeys.domain.moving.old_link import render_old_link
from vpnkeys.domain.moving.panel import Customer, LeftOut, Panel, SharedInbound

__all__ = ["Customer", "LeftOut", "Panel", "SharedInbound", "render_old_link"]
