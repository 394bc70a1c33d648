"""Make, find, show, change and remove keys.

A key exists from the commit of its row, which comes last: after Xray and config.json have it. So nobody ever sees a key
that does not work, and whatever goes wrong before is put right by the ordinary repair.
"""

import logging
import secrets
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vpnkeys.domain.errors import KeyNotFound, TargetsUnready
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status, judge, window_start
from vpnkeys.domain.link import render_link
from vpnkeys.domain.portpool import PortRange, lowest_free
from vpnkeys.domain.reality import new_short_id
from vpnkeys.interfaces import Clock, Transaction
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)

_WAIT_FOR_NAMES_S = 7.0
"""A little more than the five seconds that a probe of Xray takes at most."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody may decide about a key. `name` and `note` have been parsed."""

    name: str
    note: str = ""
    limits: Limits = NO_LIMITS
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class KeyService:
    """The use cases about keys."""

    reconciler: Reconciler
    clock: Clock
    pool: PortRange

    def list(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self.reconciler.store.keys()

    def get(self, id_or_uuid: str) -> Key:
        """The key with this id or UUID. Raises KeyNotFound."""
        return find(self.list(), id_or_uuid)

    def link(self, key: Key) -> str:
        """The link that the customer puts into a client."""
        return render_link(key, self.reconciler.site.server_address, self.reconciler.site.public_key)

    def create(self, draft: Draft, repeat: Repeat | None = None) -> Key:
        """Make a key; when this returns, its link carries traffic.

        With `repeat`, the same request again within 24 hours gives the first key and makes none. Raises
        PortsExhausted, SpeedLimitImpossible, TargetsUnready, or another Unavailable after everything was taken back.
        """
        if repeat is not None and (known := self._remembered(repeat)) is not None:
            return known
        names = self._names_to_hand_out()
        with self.reconciler.changing_keys() as transaction:
            if repeat is None:
                return self._insert(draft, names, transaction)
            return repeat.once(transaction, self.clock.now(), lambda: self._insert(draft, names, transaction))

    def create_many(self, drafts: Iterable[Draft]) -> tuple[Key, ...]:
        """Make several keys, all of them or none. Raises what `create` raises."""
        names = self._names_to_hand_out()
        with self.reconciler.changing_keys() as transaction:
            return tuple(self._insert(draft, names, transaction) for draft in drafts)

    def change(self, id_or_uuid: str, draft_of: Callable[[Key], Draft]) -> Key:
        """Let a key be as `draft_of` what it is says; when this returns, it works, or no longer, accordingly.

        Its link stays the same. Raises KeyNotFound, SpeedLimitImpossible, or Unavailable; then nothing was changed.
        """
        with self.reconciler.changing_keys() as transaction:
            key = find(transaction.keys(), id_or_uuid)
            draft = draft_of(key)
            changed = replace(key, name=draft.name, note=draft.note, limits=draft.limits, is_active=draft.is_active)
            return self._update(changed, transaction)

    def extend(self, ids: Iterable[str], by: timedelta) -> tuple[Key, ...]:
        """Let keys expire later, counted from now for those that have expired; keys that never expire stay so."""
        now = self.clock.now()
        with self.reconciler.changing_keys() as transaction:
            keys = transaction.keys()
            chosen = dict.fromkeys(find(keys, key_id) for key_id in ids)
            return tuple(self._update(_extended(key, by, now), transaction) for key in chosen)

    def delete(self, *ids: str) -> tuple[Key, ...]:
        """Remove keys; when this returns, nobody gets in with them and their open connections are cut.

        Raises KeyNotFound when one of them is not there, or Unavailable; then nothing was changed.
        """
        with self.reconciler.changing_keys() as transaction:
            keys = transaction.keys()
            gone = tuple(dict.fromkeys(find(keys, key_id) for key_id in ids))
            for key in gone:
                transaction.delete(key.id)
        _log.info("%d keys removed: %s", len(gone), ", ".join(key.id for key in gone))
        return gone

    def enforce_limits(self) -> tuple[Key, ...]:
        """Look at every key's limits, and let those that may no longer, or may again, be so; the keys that changed.

        Those that stop do so all at once and first: no key that cannot come back keeps them. A port that another
        program took meanwhile is waited for. Raises Unavailable.
        """
        with self.reconciler.changing:
            with self.reconciler.changing_keys() as transaction:
                keys = {key: self._judged(key, transaction) for key in transaction.keys()}  # noqa: SIM118 - not a dict
                changed = [judged for key, judged in keys.items() if judged != key]
                stopping = [key for key in changed if key.status is not Status.ACTIVE]
                for key in stopping:
                    transaction.update(key)
            returning = [key for key in changed if key not in stopping and self.reconciler.node.is_free(key.port)]
            for key in returning:
                with self.reconciler.changing_keys() as transaction:
                    transaction.update(key)
        for key in (*stopping, *returning):
            _log.info("key %s is %s now", key.id, key.status)
        return (*stopping, *returning)

    def judge_before_start(self) -> None:
        """Judge every key while Xray is not running yet: one that expired meanwhile must not come back for a second."""
        with self.reconciler.store.write() as transaction:
            for key in transaction.keys():  # noqa: SIM118 - not a dict
                judged = self._judged(key, transaction)
                if judged != key:
                    transaction.update(judged)

    def _remembered(self, repeat: Repeat) -> Key | None:
        with self.reconciler.store.write() as transaction:
            return repeat.find(transaction, self.clock.now())

    def _names_to_hand_out(self) -> Collection[str]:
        names = self.reconciler.node.ready_names(wait_s=_WAIT_FOR_NAMES_S)
        if not names:
            msg = (
                "No configured server name works yet: no client gets through to any target. After a start, try again "
                "in a few seconds; else check VPNKEYS_REALITY_SERVER_NAMES and that this server reaches them."
            )
            raise TargetsUnready(msg)
        return names

    def _insert(self, draft: Draft, server_names: Collection[str], transaction: Transaction) -> Key:
        others = transaction.keys()
        key = Key(
            id=str(uuid.uuid4()),
            name=draft.name,
            uuid=str(uuid.uuid4()),
            created_at=self.clock.now(),
            is_active=draft.is_active,
            port=lowest_free(self.pool, {key.port for key in others}, self.reconciler.node.is_free),
            short_id=_unique_short_id({key.short_id for key in others}),
            sni=secrets.choice(sorted(server_names)),
            note=draft.note,
            limits=draft.limits,
        )
        judged = self._judged(key, transaction)
        transaction.insert(judged)
        _log.info("key %s made on port %d", key.id, key.port)
        return judged

    def _update(self, key: Key, transaction: Transaction) -> Key:
        judged = self._judged(key, transaction)
        transaction.update(judged)
        return judged

    def _judged(self, key: Key, transaction: Transaction) -> Key:
        """The key with what its limits make of it now."""
        limits, now, used = key.limits, self.clock.now(), 0
        if limits.traffic_bytes is not None:
            used = transaction.ledger.used_bytes(key.uuid, window_start(limits.traffic_window, now))
        return replace(key, limit_status=judge(limits, used, now))


def find(keys: Iterable[Key], id_or_uuid: str) -> Key:
    """The key with this id or UUID. Raises KeyNotFound."""
    for key in keys:
        if id_or_uuid in (key.id, key.uuid):
            return key
    msg = "There is no key with this id or UUID; GET /api/keys lists those that are."
    raise KeyNotFound(msg)


def _extended(key: Key, by: timedelta, now: datetime) -> Key:
    expires_at = key.limits.expires_at
    if expires_at is None:
        return key
    start = max(expires_at, now)
    later = start + min(by, datetime.max - start)  # noqa: DTZ901 - UTC without an offset, as everywhere
    return replace(key, limits=replace(key.limits, expires_at=later))


def _unique_short_id(taken: Collection[str]) -> str:
    while (short_id := new_short_id()) in taken:
        pass
    return short_id
