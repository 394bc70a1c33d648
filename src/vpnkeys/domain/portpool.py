"""The range of ports for keys."""

from dataclasses import dataclass


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
