"""Notes here which limits of keys elsewhere are reached: their nodes stop them by themselves."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from random import SystemRandom
from threading import Lock
from typing import Final

from vpnkeys.domain.change import Snapshot
from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import ACCOUNT, ID, Key, Keys, windows_of
from vpnkeys.domain.limits import Status
from vpnkeys.domain.limits.near import left_until_next
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import Bytes
from vpnkeys.interfaces import BRIEFLY_S, Clock
from vpnkeys.service.limits.dates import DueDates
from vpnkeys.service.limits.notices import LimitNotices
from vpnkeys.service.limits.striking import changed_by_limits
from vpnkeys.service.nodes.board import Board
from vpnkeys.worker import Job, Worker

_JOB: Final = Job(
    name="limits-elsewhere",
    failing="limits of keys on other nodes could not be noted",
    every_s=1.0,
    first_after_s=1.0,
    back_off_s=(1.0,),
    late_after_s=10.0,
    expected=(Unavailable,),
)
# Keys whose use one look reads from the database at most; the others come with the next.
_READ_AT_ONCE: Final = 500
# Another server that shares the database takes reports too, of which nothing is known here.
_READ_ALL_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Limited:
    """Holds the keys of a node that have limits of time or traffic; `keys` are all that it has."""

    keys: Keys
    limited: Keys
    dates: DueDates

    @classmethod
    def of(cls, keys: Keys) -> "_Limited":
        """Return those of these keys."""
        limited = Keys(key for key in keys if _is_limited(key))
        return cls(keys, limited, DueDates.of(limited))

    def due(self, now: datetime) -> Iterable[Key]:
        """Return the keys whose date and status disagree."""
        return [key for key in self.limited if _has_other_date(key, now)] if self.dates.is_due(now) else ()


@dataclass(slots=True)
class FarLimits:
    """Compares the limits of keys on other nodes once a second: dates by the clock, traffic by what reports add.

    A look must not cost what all keys do: which of a node's keys have limits is found anew only where they change. What
    a key has used is read in each hour of its use; from then on it is known how much more matters, and it is read again
    when reports have added that. Several servers on a database do this side by side, each with the reports that it
    takes. Webhooks are notified of keys that are near their limits.
    """

    board: Board
    clock: Clock
    worker: Worker = field(init=False)
    notices: LimitNotices = field(init=False)
    _hour: datetime | None = field(default=None, init=False)
    _added: dict[str, int] = field(default_factory=dict, init=False)
    _used_at: dict[str, datetime] = field(default_factory=dict, init=False)
    _first_used: dict[str, datetime] = field(default_factory=dict, init=False)
    """When the first byte was carried of keys whose time begins with it, and has not begun here."""
    _lock: Lock = field(default_factory=Lock, init=False)
    _nodes: dict[int, _Limited] = field(default_factory=dict, init=False)
    _left: dict[str, int] = field(default_factory=dict, init=False)
    """How many more bytes of a key matter, by account, of those that were read in this hour."""
    _unread: dict[str, None] = field(default_factory=dict, init=False)
    _suspects: set[str] = field(default_factory=set, init=False)
    _compared: dict[str, tuple[Key, int]] = field(default_factory=dict, init=False)
    """What keys have used that webhooks may not have been notified of, by account."""
    _read_all_at: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is compared before it starts."""
        self.notices = LimitNotices(self.board.store, self.clock)
        self.worker = Worker(_JOB, self.look)

    def note_traffic(self, added: Mapping[str, Bytes], used_at: Mapping[str, datetime]) -> None:
        """Note that a report has added bytes to keys, by account, and since when it knows that they are used."""
        with self._lock:
            for account, more in added.items():
                self._added[account] = self._added.get(account, 0) + more.total
            for account, at in used_at.items():
                self._added.setdefault(account, 0)
                self._used_at[account] = min(at, self._used_at.get(account, at))

    def look(self) -> float | None:
        """Store the status of keys whose limits are reached, or allow them again. Raises StoreUnavailable.

        Returns how long nothing can be found: without another node until one is made.
        """
        if not self.board.has_others():
            return self.board.rest_s
        now = self.clock.now()
        self._follow(Keys.of(self.board.store.keys()))
        self._suspects.update(key.id for one in self._nodes.values() for key in one.due(now))
        hour = now.replace(minute=0, second=0, microsecond=0)  # windows of traffic begin with one
        if hour != self._hour:
            limited = (key for one in self._nodes.values() for key in one.limited)
            self._suspects.update(key.id for key in limited if key.limit_status is Status.LIMITED)
            self._left.clear()
            self._hour = hour
        self._read_all(now)
        self._count(now)
        self._read(now)
        found = self._changed(self._suspects)
        self._suspects = self._store_changes(frozenset(map(ID, found))) if found else set()
        waiting = [key.account for key in self._far(self._first_used) if key.limits.is_waiting]
        self._first_used = {account: self._first_used[account] for account in waiting}
        if self.notices.notify(self._compared.values()):
            self._compared = {}
        return None

    def _follow(self, keys: Keys) -> None:
        """Find which keys have limits, of the nodes on which any has changed; those with new limits are to be read."""
        of_nodes = {node_id: its for node_id, its in keys.by_node().items() if node_id != LOCAL.id}
        for node_id in {*self._nodes, *of_nodes}:
            was, its = self._nodes.get(node_id, _NONE), of_nodes.get(node_id, _NONE.keys)
            if was.keys is not its:
                self._nodes[node_id] = now = _Limited.of(its)
                before = {key.account: key.limits for key in was.limited}
                for key in now.limited:
                    if before.pop(key.account, None) != key.limits:
                        self._left.pop(key.account, None)
                        self._unread[key.account] = None
                for account in before:
                    self._left.pop(account, None)
        for node_id in self._nodes.keys() - of_nodes.keys():
            del self._nodes[node_id]

    def _read_all(self, now: datetime) -> None:
        """Let what all keys have used be read, again and again where others may add to it."""
        at = self._read_all_at
        if self.board.store.is_remote and not self._unread and (at is None or now - at >= _READ_ALL_AFTER):
            self._read_all_at = now
            self._unread.update(dict.fromkeys(key.account for one in self._nodes.values() for key in one.limited))

    def _count(self, now: datetime) -> None:
        """Take off what reports have brought; a key of which that matters, or of which little is known, is read."""
        with self._lock:
            added, used_at = self._added, self._used_at
            self._added, self._used_at = {}, {}
        unknown, due = [], dict[str, None]()
        for account, more in added.items():
            if (left := self._left.get(account)) is None:
                unknown.append(account)
            elif left > more:
                self._left[account] = left - more
            else:
                due[account] = None
        for key in self._far(unknown):
            if key.limits.is_waiting:
                at = used_at.get(key.account, now)
                self._first_used[key.account] = min(at, self._first_used.get(key.account, at))
                self._suspects.add(key.id)
            if key.limits.traffic_bytes is not None:
                self._unread[key.account] = None
        if due:
            self._unread = due | self._unread  # these first

    def _read(self, now: datetime) -> None:
        """Read what some keys have used. Raises StoreUnavailable."""
        accounts = list(islice(self._unread, _READ_AT_ONCE))
        limited = [key for key in self._far(accounts) if key.limits.traffic_bytes is not None]
        used = self.board.store.used_bytes(windows_of(limited, now)) if limited else {}
        for account in accounts:
            self._unread.pop(account)
        for key in limited:
            self._compare(key, key.limits.traffic_bytes or 0, used.get(key.account, 0))

    def _compare(self, key: Key, limit: int, used_bytes: int) -> None:
        """Suspect a key that has used all that it may, and works still; let webhooks hear of one that is near that."""
        self._compared[key.account] = key, used_bytes
        if used_bytes >= limit and key.limit_status is not Status.LIMITED:
            self._suspects.add(key.id)
        if not key.limits.is_waiting:
            left = left_until_next(limit, used_bytes)
            self._left[key.account] = _ENDLESS if left is None else left

    def _far(self, accounts: Iterable[str]) -> Iterator[Key]:
        """Yield the keys on other nodes that have these accounts."""
        known = Keys.of(self.board.store.keys()).by(ACCOUNT)
        found = (known.get(account) for account in accounts)
        return (key for key in found if key is not None and key.node.id != LOCAL.id)

    def _changed(self, ids: Collection[str]) -> tuple[Key, ...]:
        """Return those of these keys whose status is not what it should be, with the right one."""
        store = self.board.store
        far = Keys.of(store.keys()).among(ids)
        seen = Snapshot(far, (), (), self.clock.now(), store.used_bytes, lambda _port: True, SystemRandom())
        return changed_by_limits(replace(seen, first_used=self._first_used)) if far else ()

    def _store_changes(self, ids: Collection[str]) -> set[str]:
        """Store what has changed; return the keys that another process changes too, for the next look."""
        with self.board.deciding:
            was = Keys.of(self.board.store.keys()).by(ID)
            changed = self._changed(ids)  # once more, as they may have changed before the lock was had
            if not changed:
                return set()
            with self.board.store.write(patience_s=BRIEFLY_S) as transaction:
                there, placed = Keys.of(transaction.keys()).by(ID), {one.key.id for one in transaction.nodes.placings()}
                mine = [one for one in changed if there.get(one.id) == was.get(one.id) and one.id not in placed]
                transaction.update(*mine)
        for node_id in {key.node.id for key in mine}:
            self.board.on_news(node_id)
        return {*map(ID, changed)} - {*map(ID, mine)}


_NONE: Final = _Limited.of(Keys())
_ENDLESS: Final = 2**63
"""What a key that has used all may use before it is read again."""


def _is_limited(key: Key) -> bool:
    limits = key.limits
    return limits.expires_at is not None or limits.traffic_bytes is not None or limits.is_waiting


def _has_other_date(key: Key, now: datetime) -> bool:
    end = key.limits.expires_at
    return end is not None and (now >= end) != (key.limit_status is Status.EXPIRED)
