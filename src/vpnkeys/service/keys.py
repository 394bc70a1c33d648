"""The use cases about keys. What they change they only decide: `service.change` is how it becomes true."""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vpnkeys.domain.change import KeyChanges, Snapshot, find
from vpnkeys.domain.errors import PortsExhausted, TargetsUnready
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import NO_LIMITS, Limits
from vpnkeys.domain.link import render_link
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import new_short_id
from vpnkeys.interfaces import Clock
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.change.rows import write_keys
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

    changer: KeyChanger
    pool: PortRange

    @property
    def reconciler(self) -> Reconciler:
        """Where keys, config.json and Xray are brought together."""
        return self.changer.reconciler

    @property
    def clock(self) -> Clock:
        """The time of day that limits follow."""
        return self.changer.clock

    def list(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self.reconciler.stops.keys()

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
        if repeat is None:
            (key,) = self.create_many([draft])
            return key
        if (known := self._answered(repeat)) is not None:
            return known  # without waiting for names
        names = self._names_to_hand_out()
        with self.reconciler.changing:  # or the same request, twice at once, would make two
            if (known := self._answered(repeat)) is not None:
                return known
            changes = self.changer.change(lambda seen: repeat.remember(self._made(seen, [draft], names), seen.now))
        (key,) = changes.insert
        return key

    def create_many(self, drafts: Iterable[Draft]) -> tuple[Key, ...]:
        """Make several keys, all of them or none. Raises what `create` raises."""
        names = self._names_to_hand_out()
        return self.changer.change(lambda seen: self._made(seen, drafts, names)).insert

    def change(self, id_or_uuid: str, draft_of: Callable[[Key], Draft]) -> Key:
        """Let a key be as `draft_of` what it is says; when this returns, it works, or no longer, accordingly.

        Its link stays the same. Raises KeyNotFound and SpeedLimitImpossible, or StopPending, NotWritten or another
        Unavailable, as `KeyChanger.change` does.
        """

        def decide(seen: Snapshot) -> KeyChanges:
            key = seen.find(id_or_uuid)
            draft = draft_of(key)
            changed = replace(key, name=draft.name, note=draft.note, limits=draft.limits, is_active=draft.is_active)
            return KeyChanges(update=(seen.under_limits(changed),))

        (key,) = self.changer.change(decide).update
        return key

    def extend(self, ids: Iterable[str], by: timedelta) -> tuple[Key, ...]:
        """Let keys expire later, counted from now for those that have expired; keys that never expire stay so."""

        def decide(seen: Snapshot) -> KeyChanges:
            chosen = dict.fromkeys(seen.find(key_id) for key_id in ids)
            return KeyChanges(update=tuple(seen.under_limits(_extended(key, by, seen.now)) for key in chosen))

        return self.changer.change(decide).update

    def delete(self, *ids: str) -> tuple[str, ...]:
        """Remove keys; when this returns, nobody gets in with them and their open connections are cut. Their ids.

        Keys that were deleted before are found as long as no client has heard that it is true. Raises KeyNotFound when
        one of them is not there, and then none is removed; StopPending and NotWritten, and then all are.
        """
        gone = self.changer.change(
            lambda seen: KeyChanges(delete=tuple(dict.fromkeys(seen.id_to_stop(key_id) for key_id in ids)))
        ).delete
        _log.info("%d keys removed: %s", len(gone), ", ".join(gone))
        return gone

    def enforce_limits(self) -> tuple[Key, ...]:
        """Look at every key's limits, and let those that may no longer, or may again, be so; the keys that changed.

        Those that stop do so all at once and first: no key that cannot come back keeps them. A port that another
        program took meanwhile is waited for. Raises Unavailable.
        """
        with self.reconciler.changing:
            seen = self.changer.snapshot()
            changed = _changed(seen)
            stopping = tuple(key for key in changed if not key.serves)
            returning = [key for key in changed if key.serves and seen.is_free(key.port)]
            for update in (stopping, *((key,) for key in returning)):
                self.changer.change(lambda _seen, update=update: KeyChanges(update=update))  # type: ignore[misc]
        for key in (*stopping, *returning):
            _log.info("key %s is %s now", key.id, key.status)
        return (*stopping, *returning)

    def enforce_before_start(self) -> None:
        """Write what limits make of keys while Xray is not running: none that expired may come back for a second."""
        changed = _changed(self.changer.snapshot())
        with self.reconciler.store.write() as transaction:
            write_keys(transaction, KeyChanges(update=changed))

    def _answered(self, repeat: Repeat) -> Key | None:
        return repeat.find(self.reconciler.store, self.clock.now())

    def _names_to_hand_out(self) -> Collection[str]:
        names = self.reconciler.node.ready_names(wait_s=_WAIT_FOR_NAMES_S)
        if not names:
            msg = (
                "No configured server name works yet: no client gets through to any target. After a start, try again "
                "in a few seconds; else check VPNKEYS_REALITY_SERVER_NAMES and that this server reaches them."
            )
            raise TargetsUnready(msg)
        return names

    def _made(self, seen: Snapshot, drafts: Iterable[Draft], server_names: Collection[str]) -> KeyChanges:
        """New keys, one for each draft, each with a port and a short id that no other has."""
        ports, short_ids, made = set(seen.taken_ports), set(seen.taken_short_ids), []
        for draft in drafts:
            ports.add(port := lowest_free(self.pool, ports, seen.is_free))
            short_ids.add(short_id := new_short_id(seen.chance, short_ids))
            key = Key(
                id=seen.new_uuid(),
                name=draft.name,
                uuid=seen.new_uuid(),
                created_at=seen.now,
                is_active=draft.is_active,
                port=port,
                short_id=short_id,
                sni=seen.chance.choice(sorted(server_names)),
                note=draft.note,
                limits=draft.limits,
            )
            made.append(seen.under_limits(key))
        return KeyChanges(insert=tuple(made))


def lowest_free(pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool]) -> int:
    """Return the lowest port of the pool that no key has and for which `is_free` is true on this host.

    `is_free` tries to listen, so it is called only for ports that no key has. Raises PortsExhausted when none is left.
    """
    for port in pool.ports:
        if port not in taken and is_free(port):
            return port
    msg = f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE."
    raise PortsExhausted(msg)


def _changed(seen: Snapshot) -> tuple[Key, ...]:
    """The keys whose limits make something else of them now than is written, as they should be."""
    return tuple(now for key in seen.keys if (now := seen.under_limits(key)) != key)


def _extended(key: Key, by: timedelta, now: datetime) -> Key:
    expires_at = key.limits.expires_at
    if expires_at is None:
        return key
    start = max(expires_at, now)
    later = start + min(by, datetime.max - start)  # noqa: DTZ901 - UTC without an offset, as everywhere
    return replace(key, limits=replace(key.limits, expires_at=later))
