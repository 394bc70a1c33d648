"""Limits of a key: the status that follows from them, their windows, and the devices that may stay."""

from vpnkeys.domain.limits.status import LOOK_EVERY_S, NO_LIMITS, Limits, Status, judge, look_again_in
from vpnkeys.domain.limits.window import Window, WindowUsage

__all__ = ["LOOK_EVERY_S", "NO_LIMITS", "Limits", "Status", "Window", "WindowUsage", "judge", "look_again_in"]
