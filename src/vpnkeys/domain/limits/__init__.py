"""Limits of a key: the status that follows from them, and the devices that may stay."""

from vpnkeys.domain.limits.status import (
    LOOK_EVERY_S,
    NO_LIMITS,
    Limits,
    Status,
    Window,
    judge,
    look_again_in,
    window_start,
)

__all__ = ["LOOK_EVERY_S", "NO_LIMITS", "Limits", "Status", "Window", "judge", "look_again_in", "window_start"]
