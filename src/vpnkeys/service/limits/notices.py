"""Notifies webhooks of keys that are near their traffic limits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.event import NewEvent, event_of_limit_near
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice, notice_of, shares_to_notify
from vpnkeys.interfaces import BRIEFLY_S
from vpnkeys.service.traffic import TrafficService


@dataclass(slots=True)
class LimitNotices:
    """Remembers what was notified of each key, so that a share of a limit is notified once in a window."""

    traffic: TrafficService
    _known: dict[str, Notice] | None = field(default=None, init=False)

    def notify(self, keys: Iterable[Key]) -> bool:
        """Notify of the keys that have come near their limits, as the limits themselves know it. Raises Unavailable.

        A database that takes no write is no error, as limits are enforced all the same: this returns False then, and
        the keys are to be named again.
        """
        store, now = self.traffic.store, self.traffic.clock.now()
        if self._known is None:
            self._known = dict(store.notices())
        changed: dict[str, Notice] = {}
        events: list[NewEvent] = []
        keys = tuple(keys)
        for key, usage in zip(keys, self.traffic.usage.of_each(keys), strict=True):
            if usage.used_bytes is None:
                continue
            notice, last = notice_of(key.limits, usage.used_bytes, now), self._known.get(key.id)
            if notice != (last or Notice(notice.window_start, 0)):
                changed[key.id] = notice
                # What is used up is not near its limit any more: `key.limited` says so.
                shares = shares_to_notify(last, notice) if usage.remaining_bytes else ()
                events += (event_of_limit_near(key, share, usage) for share in shares)
        try:
            if changed:
                self._write(changed, events)
        except StoreUnavailable:
            return False
        return True

    def _write(self, changed: Mapping[str, Notice], events: Iterable[NewEvent]) -> None:
        """Store events and notices in one commit, so that neither a crash nor a repeat makes two of one."""
        with self.traffic.store.write(patience_s=BRIEFLY_S) as transaction:
            known = {key.id for key in transaction.keys()}  # noqa: SIM118 - not a dict
            transaction.put_notices({key_id: notice for key_id, notice in changed.items() if key_id in known})
            for event in events:
                if event.data["id"] in known:
                    transaction.add_event(event)
        self._known = {**(self._known or {}), **changed}
