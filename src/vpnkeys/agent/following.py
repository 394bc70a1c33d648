"""Brings the keys of a node to what it should have, by the road on which all keys change."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from vpnkeys.domain.change import KeyChanges, Snapshot, UsedElsewhere
from vpnkeys.domain.errors import Rejected, StopPending, XrayRefused
from vpnkeys.domain.key import ID, UNNUMBERED, Key, Keys, windows_of
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.traffic import Samples
from vpnkeys.service.keys import KeyService
from vpnkeys.wire.agents import Desired, WantedKey

UsedBytes: TypeAlias = Callable[[Mapping[str, datetime | None]], Mapping[str, int]]

_OF_ONE_KEY: Final = (XrayRefused, Rejected)
"""What one key may be the reason of: its port is taken, or its speed cannot be limited on this host."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a node has: mark and ticket of what it was wanted to have, and a code for each key that did not start."""

    rev: str = ""
    failed: dict[str, str] = field(default_factory=dict)
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Follower:
    """Changes the keys of this node to those that it should have."""

    keys: KeyService
    forget: Callable[[Key], None] = lambda _key: None
    """Called with a key of whose traffic more is known than what was read before."""

    def apply(self, desired: Desired) -> Applied:
        """Change what differs; when this returns, the node has it. Raises Unavailable; then a repeat goes on.

        All at once; where a key cannot be as it should, key by key, so that it keeps no other from changing.
        """
        failed: dict[str, str] = {}
        ids, left = frozenset(wanted.id for wanted in desired.keys), self._left(desired.keys)
        try:
            self._change(partial(_decide, desired.keys, ids, left))
        except _OF_ONE_KEY:
            self._change(partial(_decide, (), ids, left))
            failed = self._one_by_one(desired.keys, ids, left)
        # The decision finds nothing to do for a stop that is stored and not carried out yet. One of a key that works
        # again, or that has failed, is of an earlier start, and nobody waits for it.
        stops = self.keys.reconciler.stops
        others = {key.id for key in stops.last_keys() if key.serves} | failed.keys()
        if any(stop.key_id not in others for stop in stops.unconfirmed()):
            raise StopPending("Xray has not confirmed yet that all keys have stopped that should have.")
        return Applied(desired.rev, failed, desired.ticket)

    def retry(self, desired: Desired, applied: Applied) -> Applied:
        """Try once more the keys that have failed, such as for a port that was taken. Raises Unavailable."""
        ids = frozenset(one.id for one in desired.keys)
        again = [one for one in desired.keys if one.id in applied.failed]
        return replace(applied, failed=self._one_by_one(again, ids, self._left(again)))

    def _one_by_one(self, keys: Iterable[WantedKey], ids: Collection[str], left: Samples | None) -> dict[str, str]:
        """Change each key by itself; return a code for each that cannot be as it should."""
        failed: dict[str, str] = {}
        for wanted in sorted(keys, key=lambda wanted: wanted.is_active):  # a stop may free a port
            try:
                self._change(partial(_decide, (wanted,), ids, left))
            except _OF_ONE_KEY as error:
                failed[wanted.id] = error.code
        return failed

    def _change(self, decide: Callable[[Snapshot], KeyChanges]) -> None:
        changes = self.keys.change_here(decide)
        for key in self.keys.list() if changes.used else ():
            if key.account in changes.used:
                self.forget(key)

    def _left(self, wanted: Iterable[WantedKey]) -> Samples | None:
        """Return the counters that Xray still has of keys that come back, of which `used_bytes` knows too."""
        known = self.keys.list().by(ID)
        back = [one.account for one in wanted if one.id not in known and one.used_bytes is not None]
        return self.keys.reconciler.node.sample(back) if back else None


def _decide(wanted: Collection[WantedKey], ids: Collection[str], left: Samples | None, seen: Snapshot) -> KeyChanges:
    """Return the changes that lead to these keys; those that have none of the ids are deleted."""
    known = Keys.of(seen.keys).by(ID)
    keys = [_key_of(one, known.get(one.id)) for one in wanted]
    used = _used_elsewhere(wanted, keys, seen)
    seen = replace(seen, used_bytes=_with_more(seen.used_bytes, used))
    then = seen.under_limits(keys)
    changed = [key for key in then if known.get(key.id) != key]
    insert = tuple(key for key in changed if key.id not in known)
    new = {key.account for key in insert}
    counted = None if left is None else replace(left, usage={one: left.usage[one] for one in left.usage if one in new})
    return KeyChanges(
        insert=insert,
        update=tuple(key for key in changed if key.id in known),
        delete=tuple(key_id for key_id in known if key_id not in ids),
        used=used,
        counted=counted if counted is not None and counted.usage else None,
    )


def _used_elsewhere(wanted: Iterable[WantedKey], keys: Iterable[Key], seen: Snapshot) -> dict[str, UsedElsewhere]:
    """Return by how much the control plane knows of more traffic than this node: it was carried by others.

    What was said of an earlier window is left out: it may have been kept here since.
    """
    told = {one.account: one for one in wanted if one.used_bytes is not None}
    since = windows_of((key for key in keys if key.account in told), seen.now)
    here = seen.used_bytes({account: at for account, at in since.items() if at == told[account].used_since})
    more = {account: (told[account].used_bytes or 0) - used for account, used in here.items()}
    return {
        account: UsedElsewhere(bytes_, None if since[account] is None else seen.now)
        for account, bytes_ in more.items()
        if bytes_ > 0
    }


def _with_more(used_bytes: UsedBytes, more: Mapping[str, UsedElsewhere]) -> UsedBytes:
    def used(since: Mapping[str, datetime | None]) -> Mapping[str, int]:
        return {one: there + (more[one].bytes if one in more else 0) for one, there in used_bytes(since).items()}

    return used if more else used_bytes


def _key_of(wanted: WantedKey, known: Key | None) -> Key:
    """Return a key as its node has it, under its id: the node does not know its name."""
    limits = Limits(
        expires_at=wanted.expires_at,
        traffic_bytes=wanted.traffic_limit_bytes,
        traffic_window=Window(wanted.traffic_limit_window),
        max_devices=wanted.max_devices,
        speed_mbps=wanted.speed_limit_mbps,
        expires_after_s=wanted.expires_after_s,
    )
    began_at = None if known is None else known.limits.began_at
    if limits.is_waiting and began_at is not None:
        limits = limits.begun(began_at)  # here, and the control plane has not heard of it yet
    return Key(
        id=wanted.id,
        name=wanted.id,
        uuid=wanted.uuid,
        created_at=wanted.created_at,
        is_active=wanted.is_active,
        port=wanted.port,
        short_id=wanted.short_id,
        sni=wanted.sni,
        flow=wanted.flow,
        limits=limits,
        first_uuid="" if wanted.account == wanted.uuid else wanted.account,
        number=UNNUMBERED if known is None else known.number,
    )
