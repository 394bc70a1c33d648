"""The range of ports for keys."""

import re
from dataclasses import dataclass
from typing import Final

MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class PortRange:
    """A range of TCP ports from `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def ports(self) -> range:
        """The ports, lowest first."""
        return range(self.first, self.last + 1)


def parse_range(value: object) -> PortRange:
    """Return the range of a text such as `10001-10100`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", str(value))
    if match is None or not 0 < int(match[1]) <= int(match[2]) <= MAX_PORT:
        msg = "give a range of ports, such as 10001-10100"
        raise ValueError(msg)
    return PortRange(int(match[1]), int(match[2]))


def is_port(text: str) -> bool:
    """Return whether a text is the number of a TCP port."""
    return text.isdecimal() and 0 < int(text) <= MAX_PORT
