"""Implements the use cases about keys. They only decide what changes; `service.change` carries it out."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vpnkeys.domain.change import KeyChanges, Snapshot, Stages
from vpnkeys.domain.errors import (
    AlreadyTaken,
    InvalidChoice,
    NotWritten,
    PortsExhausted,
    StoreUnavailable,
    TargetsUnready,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.link import render_link
from vpnkeys.domain.making import Draft, Supply, made
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.traffic import Samples
from vpnkeys.interfaces import BRIEFLY_S, Clock
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.change.storage import write_keys
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)

_PATIENCE_AT_START_S = 2.0
WAIT_FOR_NAMES_S = 7.0
"""A little more than the five seconds for which REALITY probes a target at most (docs/adr/0004-warm-names.md)."""


@dataclass(frozen=True, slots=True)
class KeyService:
    """Implements the use cases about keys."""

    changer: KeyChanger
    pool: PortRange

    @property
    def reconciler(self) -> Reconciler:
        """Return the reconciler, which brings config.json and Xray to the keys of the database."""
        return self.changer.reconciler

    @property
    def clock(self) -> Clock:
        """Return the clock that limits follow."""
        return self.changer.clock

    def list(self) -> tuple[Key, ...]:
        """Return all keys, oldest first."""
        return self.reconciler.stops.keys()

    def get(self, id_or_uuid: str) -> Key:
        """Return the key with this id or UUID. Raises KeyNotFound."""
        return find(self.list(), id_or_uuid)

    def link(self, key: Key) -> str:
        """Return the `vless://` link that the customer puts into a client."""
        return render_link(key, self.reconciler.site)

    def create(self, draft: Draft, repeat: Repeat | None = None) -> Key:
        """Make a key and return it; when this returns, its link carries traffic.

        With `repeat`, the same request again within 24 hours gives the first key and makes none. Raises KeyNotFound
        when that key was deleted since, IdempotencyKeyReused after another request, InvalidChoice, AlreadyTaken,
        PortsExhausted, SpeedLimitImpossible, TargetsUnready, or another Unavailable after everything was taken back.
        """
        if repeat is None:
            (key,) = self.create_many([draft])
            return key
        if (known := self._answered(repeat)) is not None:
            return known  # before waiting for names, which a repeated answer does not need
        supply = self._supply([draft])  # outside of the lock: it may wait for seconds
        with self.reconciler.changing:  # without the lock, two copies of a request at once would make two keys
            if (known := self._answered(repeat)) is not None:
                return known
            changes = self.changer.change(lambda seen: repeat.remember(self._made(seen, [draft], supply), seen.now))
        (key,) = _logged(changes.insert)
        return key

    def create_many(self, drafts: Iterable[Draft]) -> tuple[Key, ...]:
        """Make several keys, all of them or none, and return them in order. Raises what `create` raises."""
        drafts = tuple(drafts)
        supply = self._supply(drafts)
        return _logged(self.changer.change(lambda seen: self._made(seen, drafts, supply)).insert)

    def change(self, id_or_uuid: str, draft_of: Callable[[Key], Draft]) -> Key:
        """Change a key to what `draft_of` makes of it and return it; when this returns, Xray follows the change.

        Its link stays the same unless another port was chosen, 0 for the lowest free one. Raises KeyNotFound,
        InvalidChoice, AlreadyTaken, PortsExhausted and SpeedLimitImpossible, or StopPending, NotWritten or another
        Unavailable, as `KeyChanger.change` does.
        """

        def decide(seen: Snapshot) -> KeyChanges:
            key = seen.find(id_or_uuid)
            draft = draft_of(key)
            changed = replace(
                key,
                name=draft.name,
                note=draft.note,
                limits=draft.limits,
                is_active=draft.is_active,
                fingerprint=draft.fingerprint,
            )
            if draft.choices.port not in {None, key.port}:
                (port,) = ports_for(self.pool, seen, [draft.choices.port or None])
                changed = replace(changed, port=port, port_assigned_at=seen.now)
            return KeyChanges(update=seen.under_limits([changed]))

        (key,) = self.changer.change(decide).update
        return key

    def extend(self, ids: Iterable[str], by: timedelta) -> tuple[Key, ...]:
        """Let keys expire later by this time and return them. Keys that never expire are not changed.

        For a key that has expired, the time counts from now. Raises KeyNotFound, and what `KeyChanger.change` raises.
        """

        def decide(seen: Snapshot) -> KeyChanges:
            # A dict keeps the order and drops repetitions: a key that is named twice is extended once.
            chosen = dict.fromkeys(seen.find(key_id) for key_id in ids)
            return KeyChanges(update=seen.under_limits(_extended(key, by, seen.now) for key in chosen))

        return self.changer.change(decide).update

    def delete(self, *ids: str) -> tuple[str, ...]:
        """Remove keys and return their ids; when this returns, they let no client in and their connections are cut.

        A key whose deletion was answered with an error is still found, so that the client can ask until it succeeds.
        Raises KeyNotFound when a key does not exist; then none is removed. Raises StopPending or NotWritten when all
        are removed, and the node or the disk has yet to follow.
        """
        gone = self.changer.change(
            lambda seen: KeyChanges(delete=tuple(dict.fromkeys(seen.id_to_stop(key_id) for key_id in ids)))
        ).delete
        _log.info("%d keys removed: %s", len(gone), ", ".join(gone))
        return gone

    def enforce_limits(self, fresh: Iterable[Samples] = ()) -> tuple[Key, ...]:
        """Stop each key whose limits are reached, start each whose limits allow it again; return the changed keys.

        The counters in `fresh` count as used, although they are not merged yet. A key whose port another program took
        meanwhile starts once the port is free. Raises Unavailable; XrayRefused only after all other keys have started.
        """
        with self.reconciler.changing:
            seen = self.changer.snapshot(fresh)
            changed = _changed(seen)
            stopping = tuple(key for key in changed if not key.serves)
            returning = [key for key in changed if key.serves and seen.is_free(key.port)]
            # Stops first and together, starts one by one: a key that fails to start must not keep others from stopping,
            # and takes none of the other starts back with it.
            if stopping:
                self._stop_now(stopping)
            refused = {key.id: error for key in returning if (error := self._try_to_start(key)) is not None}
        changed = tuple(key for key in (*stopping, *returning) if key.id not in refused)
        for key in changed:
            _log.info("key %s is %s now", key.id, key.status)
        for error in refused.values():
            raise error
        return changed

    def _stop_now(self, keys: tuple[Key, ...]) -> None:
        """Stop keys in the running Xray, whether or not the disk takes it now. Raises StopPending."""
        try:
            self.changer.change(lambda _seen: KeyChanges(update=keys), patience_s=BRIEFLY_S)
        except NotWritten as error:
            # The keys have stopped, and what is missing is written by the repairer: nothing is left to do here.
            _log.warning("%s", error)

    def _try_to_start(self, key: Key) -> XrayRefused | None:
        """Start a key; return the error when Xray refuses it, which says nothing about other keys."""
        try:
            self.changer.change(lambda _seen: KeyChanges(update=(key,)), patience_s=BRIEFLY_S)
        except XrayRefused as error:
            return error
        return None

    def enforce_before_start(self) -> None:
        """Write the limit status of all keys before Xray starts, so that it never runs a key that expired meanwhile.

        A stop that the database does not take is in force all the same. Raises StoreUnavailable when it cannot be read.
        """
        seen = self.changer.snapshot()
        changes = KeyChanges(update=_changed(seen))
        if not changes:
            return
        try:
            with self.reconciler.store.write(patience_s=_PATIENCE_AT_START_S) as transaction:
                write_keys(transaction, changes)
        except StoreUnavailable as error:
            _log.error("limits that were reached meanwhile are in force, and are stored later: %s", error)
            stopping = KeyChanges(update=tuple(key for key in changes.update if not key.serves))
            self.reconciler.stops.keep(stopping, Stages.of(seen, stopping).stops)

    def _answered(self, repeat: Repeat) -> Key | None:
        return repeat.find(self.reconciler.store, self.clock.now(), self.list())

    def _supply(self, drafts: Collection[Draft]) -> Supply:
        """Return what there is for these drafts. Raises TargetsUnready, XrayUnavailable."""
        site = self.reconciler.site
        # A name that was chosen has to be among them, so all are looked at.
        is_chosen = any(draft.choices.sni for draft in drafts)
        ready = self._working_names(len(site.server_names) if is_chosen else len(drafts))
        # A random UUID has no counters: Xray is asked only where one was chosen.
        samples = self.reconciler.node.sample() if any(draft.choices.uuid for draft in drafts) else None
        return Supply(site.server_names, ready, samples)

    def _working_names(self, most: int) -> Collection[str]:
        names = self.reconciler.node.working_names(most, WAIT_FOR_NAMES_S)
        if not names:
            msg = (
                "No server name works now: no client gets through to any target. Just after a start, try again in a "
                "few seconds; otherwise `vpnkeys system targets` says what is wrong with each name, and others can be "
                "set in VPNKEYS_REALITY_SERVER_NAMES."
            )
            raise TargetsUnready(msg)
        return names

    def _made(self, seen: Snapshot, drafts: Sequence[Draft], supply: Supply) -> KeyChanges:
        ports = ports_for(self.pool, seen, [draft.choices.port for draft in drafts])
        return made(seen, drafts, ports, supply)


def ports_for(pool: PortRange, seen: Snapshot, chosen: Sequence[int | None]) -> tuple[int, ...]:
    """Return the chosen ports, and in place of each None the lowest free one that nobody chose.

    Raises InvalidChoice, AlreadyTaken, PortsExhausted.
    """
    taken = set(seen.taken_ports)
    for port in chosen:
        if port is not None:
            _require_free(port, pool, taken, seen.is_free)
            taken.add(port)
    ports = []
    for port in chosen:
        taken.add(given := port or lowest_free(pool, taken, seen.is_free, seen.pending_ports))
        ports.append(given)
    return tuple(ports)


def _require_free(port: int, pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool]) -> None:
    if port not in pool:
        msg = f"port: give one of {pool} (VPNKEYS_PORT_RANGE), or leave it out for the lowest free one."
        raise InvalidChoice(msg)
    if port in taken or not is_free(port):
        owner = "key" if port in taken else "program or vpnkeys server on this host, or to your own inbound"
        msg = f"port {port} belongs to another {owner}; choose another, or leave it out."
        raise AlreadyTaken(msg)


def _logged(made: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return these keys, after a line in the log for each."""
    for key in made:
        _log.info("key %s made on port %d", key.id, key.port)
    return made


def lowest_free(
    pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool], pending: Collection[int]
) -> int:
    """Return the lowest port of the pool that no key has and for which `is_free` is true on this host.

    `is_free` tries to listen, so it is called only for ports that no key has. Raises PortsExhausted when none is left,
    XrayUnavailable when some of the taken ones are only `pending`.
    """
    for port in pool.ports:
        if port not in taken and is_free(port):
            return port
    if reserved := sum(port in pool for port in pending):
        msg = (
            f"No port of {pool} is free now: {reserved} are reserved until Xray confirms that their keys have stopped. "
            "Nothing was changed; try again in some seconds."
        )
        raise XrayUnavailable(msg)
    msg = f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE."
    raise PortsExhausted(msg)


def _changed(seen: Snapshot) -> tuple[Key, ...]:
    """Return the keys whose limit status is not what is stored, with the status that they should have now."""
    return tuple(now for key, now in zip(seen.keys, seen.under_limits(seen.keys), strict=True) if now != key)


def _extended(key: Key, by: timedelta, now: datetime) -> Key:
    expires_at = key.limits.expires_at
    if expires_at is None:
        return key
    start = max(expires_at, now)
    # A span of any length is valid; beyond the year 9999 the addition would overflow.
    later = start + min(by, datetime.max - start)  # noqa: DTZ901 - UTC without an offset, as everywhere
    return replace(key, limits=replace(key.limits, expires_at=later))
