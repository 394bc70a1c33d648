"""Notifies webhooks of keys that are near their traffic limits."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.event import event_of_limit_near
from vpnkeys.domain.key import ID, Key, Keys, windows_of
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.domain.limits.near import Notice, notice_of, shares_to_notify
from vpnkeys.interfaces import BRIEFLY_S, Clock, Store


@dataclass(slots=True)
class LimitNotices:
    """Notifies of a share of a limit once in a window.

    It remembers what is stored of each key, so that it asks the database only about keys of which that may change.
    Another server may have notified meanwhile: what is stored decides, in the transaction that changes it.
    """

    store: Store
    clock: Clock
    _known: dict[str, Notice] | None = field(default=None, init=False)

    def notify(self, used: Iterable[tuple[Key, int | None]]) -> bool:
        """Notify of the keys, with the bytes used, that have come near their limits. Raises Unavailable.

        A database that takes no write is no error, as limits are enforced all the same: this returns False then, and
        the keys are to be named again.
        """
        now = self.clock.now()
        if self._known is None:
            self._known = dict(self.store.notices())
        news = [
            key
            for key, used_bytes in used
            if used_bytes is not None and _news(key, used_bytes, self._known.get(key.id), now) is not None
        ]
        try:
            if news:
                self._known |= self._write(news, now)
        except StoreUnavailable:
            return False
        return True

    def _write(self, keys: Iterable[Key], now: datetime) -> dict[str, Notice]:
        """Store events and notices in one commit; return what is stored of these keys then.

        So neither a crash nor a repeat makes two events of one.
        """
        changed: dict[str, Notice] = {}
        with self.store.write(patience_s=BRIEFLY_S) as transaction:
            there = Keys.of(transaction.keys()).among(key.id for key in keys)
            limited = [key for key in there if key.limits.traffic_bytes is not None]
            used = transaction.ledger.used_bytes(windows_of(limited, now))
            known = transaction.notices({*map(ID, limited)})
            for key in limited:
                if (notice := _news(key, used[key.account], last := known.get(key.id), now)) is None:
                    continue
                changed[key.id] = notice
                limits = key.limits
                usage = WindowUsage.of(limits.traffic_bytes, limits.traffic_window, used[key.account], now)
                # What is used up is not near its limit any more: `key.limited` says so.
                for share in shares_to_notify(last, notice) if usage.remaining_bytes else ():
                    transaction.add_event(event_of_limit_near(key, share, usage))
            transaction.put_notices(changed)
        return {**known, **changed}


def _news(key: Key, used_bytes: int, last: Notice | None, now: datetime) -> Notice | None:
    """Return what is to be stored of a key now; None where that is what was stored last."""
    notice = notice_of(key.limits, used_bytes, now)
    return None if notice == (last or Notice(notice.window_start, 0)) else notice
