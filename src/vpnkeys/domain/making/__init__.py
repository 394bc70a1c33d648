"""How a new key is made: what its caller decides, and what it gets."""

from vpnkeys.domain.making.draft import NO_CHOICES, Choices, Draft, parse_choices
from vpnkeys.domain.making.made import Supply, made
from vpnkeys.domain.making.ports import lowest_free, ports_for, require_places

__all__ = [
    "NO_CHOICES",
    "Choices",
    "Draft",
    "Supply",
    "lowest_free",
    "made",
    "parse_choices",
    "ports_for",
    "require_places",
]
