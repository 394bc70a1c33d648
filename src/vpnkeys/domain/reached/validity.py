"""Says whether a certificate can be used now: one rule for `/health` and for `vpnkeys doctor`."""

from enum import Enum, auto

_SOON_S, _SHARE = 14 * 86400.0, 5
"""certbot renews 30 days before the end, and what is valid for less, such as six days, with a third of that left. So
by then, or with a fifth of the time left, it has failed many times."""


class Validity(Enum):
    """Whether a certificate is valid; EXPIRING when it should have been renewed already."""

    VALID = auto()
    EXPIRING = auto()
    EXPIRED = auto()
    NOT_YET = auto()


def validity(left_s: float, lifetime_s: float) -> Validity:
    """Return whether a certificate is valid that ends in so many seconds, and is valid for so many in all."""
    if left_s <= 0:
        return Validity.EXPIRED
    if left_s > lifetime_s:
        return Validity.NOT_YET
    return Validity.EXPIRING if left_s <= min(_SOON_S, lifetime_s / _SHARE) else Validity.VALID
