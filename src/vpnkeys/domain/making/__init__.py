"""How a new key is made: what its caller decides, and what it gets."""

from vpnkeys.domain.making.draft import NO_CHOICES, Choices, Draft, parse_choices
from vpnkeys.domain.making.made import Supply, made
from vpnkeys.domain.making.ports import none_left, refused_choice, require_places

__all__ = [
    "NO_CHOICES",
    "Choices",
    "Draft",
    "Supply",
    "made",
    "none_left",
    "parse_choices",
    "refused_choice",
    "require_places",
]
