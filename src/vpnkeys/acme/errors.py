"""The ways in which a certificate cannot be had, each with words that may be shown to anybody."""

from vpnkeys.domain.errors import Unavailable


class IssuanceFailed(Unavailable):
    """No certificate was issued now. `reason` has no name, address or path in it: `/health` is open to all."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
