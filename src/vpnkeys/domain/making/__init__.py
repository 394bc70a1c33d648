"""How a new key is made: what its caller decides, and what it gets."""

from vpnkeys.domain.making.draft import NO_CHOICES, Choices, Draft, parse_choices
from vpnkeys.domain.making.made import Supply, made
from vpnkeys.domain.making.ports import refused_choice, require_places, too_few_ports

__all__ = [
    "NO_CHOICES",
    "Choices",
    "Draft",
    "Supply",
    "made",
    "parse_choices",
    "refused_choice",
    "require_places",
    "too_few_ports",
]
