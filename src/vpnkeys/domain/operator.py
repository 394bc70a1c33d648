"""What customers learn about the operator: a name, where to ask for help, and an announcement."""

import re
import unicodedata
from dataclasses import dataclass

from vpnkeys.domain.naming import has_controls

_NAME_MAX_CHARS = 64
_ANNOUNCEMENT_MAX_CHARS = 200  # what Happ shows

# What turns the direction of the text after it (UAX #9): apps show a name beside their own words.
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})

# Printable ASCII without spaces: the address is sent as a header too.
_SUPPORT_URL = re.compile(r"(?:https://|http://|tg://|mailto:)[!-~]+")


@dataclass(frozen=True, slots=True)
class Operator:
    """What customers see of the operator in their client and on their page; empty where nothing was set."""

    name: str = ""
    support_url: str = ""
    announcement: str = ""


NO_OPERATOR = Operator()


def parse_operator_name(raw: str) -> str:
    """Return the name as one line. Raises ValueError when it is too long or turns the direction of text."""
    return _one_line(raw, _NAME_MAX_CHARS)


def parse_announcement(raw: str) -> str:
    """Return the announcement as one line. Raises ValueError when it is too long or turns the direction of text."""
    return _one_line(raw, _ANNOUNCEMENT_MAX_CHARS)


def parse_support_url(raw: str) -> str:
    """Return the address where customers ask for help. Raises ValueError for one that no client opens."""
    if raw and _SUPPORT_URL.fullmatch(raw) is None:
        msg = "give an address such as https://t.me/your_name, tg://resolve?domain=your_name or mailto:help@example.com"
        raise ValueError(msg)
    return raw


def _one_line(raw: str, most: int) -> str:
    text = " ".join(raw.split())
    if len(text) > most or has_controls(text) or any(unicodedata.bidirectional(char) in _TURNING for char in text):
        msg = f"give at most {most} characters, none of them a control character or a mark of the direction of text"
        raise ValueError(msg)
    return text
