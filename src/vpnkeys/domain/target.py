"""The result of a check of a REALITY target."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A report on the target of one server name, in words that an operator can act on.

    `problems` keep the name from new keys: clients could not connect, or a probe could tell the server from the target.
    `warnings` do not. `handshake_s` is the time to connect and shake hands; `address` is the IP address and port that
    answered.
    """

    server_name: str
    target: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    handshake_s: float = 0.0
    address: tuple[str, int] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether new keys may use this name."""
        return not self.problems
