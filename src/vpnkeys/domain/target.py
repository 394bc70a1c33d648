"""What is known of a REALITY target."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What a look at the target of a server name found, in words that an operator can act on.

    `problems` keep the name from being handed out: a client would not get in, or the camouflage would be seen through.
    `warnings` do not. `handshake_s` is how long it took to connect and shake hands; `address` the one that answered.
    """

    server_name: str
    target: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    handshake_s: float = 0.0
    address: tuple[str, int] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether keys may be made with this name."""
        return not self.problems
