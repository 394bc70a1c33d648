"""Brings the keys of a node to what it should have, by the road on which all keys change."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import Rejected, StopPending, XrayRefused
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.service.keys import KeyService
from vpnkeys.wire.agents import Desired, WantedKey

_OF_ONE_KEY: Final = (XrayRefused, Rejected)
"""What one key may be the reason of: its port is taken, or its speed cannot be limited on this host."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a node has: the mark of what it was wanted to have, with a code for each key that did not start."""

    rev: str = ""
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Follower:
    """Changes the keys of this node to those that it should have."""

    keys: KeyService

    def apply(self, desired: Desired) -> Applied:
        """Change what differs; when this returns, the node has it. Raises Unavailable; then a repeat goes on.

        All at once; where a key cannot be as it should, key by key, so that it keeps no other from changing.
        """
        failed: dict[str, str] = {}
        ids = frozenset(wanted.id for wanted in desired.keys)
        try:
            self.keys.change_here(partial(_decide, desired.keys, ids))
        except _OF_ONE_KEY:
            self.keys.change_here(partial(_decide, (), ids))
            for wanted in sorted(desired.keys, key=lambda wanted: wanted.is_active):  # a stop may free a port
                try:
                    self.keys.change_here(partial(_decide, (wanted,), ids))
                except _OF_ONE_KEY as error:
                    failed[wanted.id] = error.code
        # The decision finds nothing to do for a stop that is stored and not carried out yet. One of a key that works
        # again, or that has failed, is of an earlier start, and nobody waits for it.
        stops = self.keys.reconciler.stops
        others = {key.id for key in stops.last_keys() if key.serves} | failed.keys()
        if any(stop.key_id not in others for stop in stops.unconfirmed()):
            raise StopPending("Xray has not confirmed yet that all keys have stopped that should have.")
        return Applied(desired.rev, failed)


def _decide(wanted: Iterable[WantedKey], ids: Collection[str], seen: Snapshot) -> KeyChanges:
    """Return the changes that lead to these keys; those that have none of the ids are deleted."""
    known = Keys.of(seen.keys).by(ID)
    then = seen.under_limits(_key_of(one, known.get(one.id)) for one in wanted)
    changed = [key for key in then if known.get(key.id) != key]
    return KeyChanges(
        insert=tuple(key for key in changed if key.id not in known),
        update=tuple(key for key in changed if key.id in known),
        delete=tuple(key_id for key_id in known if key_id not in ids),
    )


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
    if known is not None and limits.is_waiting and known.limits == replace(limits, expires_at=known.limits.expires_at):
        limits = known.limits  # its time has begun here, and the control plane has not heard of it yet
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
    )
