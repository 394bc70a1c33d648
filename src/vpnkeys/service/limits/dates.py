"""Tells whether a date of keys is due, without going through the keys at each look."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status

_ALWAYS, _NEVER = datetime.min, datetime.max  # noqa: DTZ901 - UTC without an offset, as everywhere


@dataclass(frozen=True, slots=True)
class DueDates:
    """The dates that matter of some keys; they are the same until keys change.

    From `expires_at` on, a key has to expire that has not. Before `expired_until`, one has expired too early: it was
    extended, or the clock was set back.
    """

    expires_at: datetime = _NEVER
    expired_until: datetime = _ALWAYS

    @classmethod
    def of(cls, keys: Iterable[Key]) -> Self:
        """Return the dates of these keys."""
        dates = [(key.limit_status is Status.EXPIRED, key.limits.expires_at) for key in keys]
        return cls(
            min((at for has_expired, at in dates if at and not has_expired), default=_NEVER),
            max((at or _NEVER for has_expired, at in dates if has_expired), default=_ALWAYS),
        )

    def is_due(self, now: datetime) -> bool:
        """Return whether a stored limit status is wrong about expiry: expired and not noted, or noted and extended."""
        return now >= self.expires_at or now < self.expired_until
