"""Gives a key a new link: another UUID, short id or server name."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import KeysChangedMeanwhile, NothingToRotate, TargetsUnready
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.reality import new_short_id
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.keys import WAIT_FOR_NAMES_S, KeyService
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Says what a key gets anew: its UUID, its short id, its server name."""

    uuid: bool = False
    short_id: bool = False
    sni: bool = False


def rotate(keys: KeyService, id_or_uuid: str, renewal: Renewal, repeat: Repeat | None = None) -> Key:
    """Give a key a new link and return it: the same key, port and limits, and its traffic goes on.

    When this returns, the new link works, the old one does not, and its connections are cut. With `repeat`, the same
    request again within 24 hours changes nothing more. Raises KeyNotFound, NothingToRotate, TargetsUnready when the new
    link would not work, or what `KeyService.change_once` raises.
    """
    if not (renewal.uuid or renewal.short_id or renewal.sni):
        msg = "Say what the key is to get anew: give at least one of uuid, short_id and sni as true."
        raise NothingToRotate(msg)
    known = keys.list()  # before the answer: with it, the key may have another UUID
    with keys.repeats.alone(repeat):
        if (first := keys.answered(repeat)) is not None:
            return first[0]
        key = _rotate(keys.at(id_or_uuid), find(known, id_or_uuid), renewal, repeat)
    keys.stop_before([key.id])
    return key


def _rotate(there: KeyService, was: Key, renewal: Renewal, repeat: Repeat | None) -> Key:
    # Outside of the lock: it may wait for seconds.
    name = _other_name(there, was) if renewal.sni else _name_that_works(there, was)

    def decide(seen: Snapshot) -> KeyChanges:
        key = seen.find(was.id)
        if (key.sni != name) != renewal.sni:
            msg = "The key's server name was changed at the same moment. Nothing else was changed; try again."
            raise KeysChangedMeanwhile(msg)
        key = replace(key, sni=name)
        if renewal.uuid:
            key = replace(key, uuid=seen.new_uuid(seen.taken_names), first_uuid=key.account)
        if renewal.short_id:
            key = replace(key, short_id=new_short_id(seen.chance, seen.taken_short_ids))
        return KeyChanges(update=(key,))

    (key,), is_new = there.change_once(decide, repeat)
    if is_new:
        _log.info("key %s has a new link", key.id)
    return key


def _other_name(there: KeyService, key: Key) -> str:
    """Return a server name that works and is not the key's. Raises TargetsUnready when there is none, NodeSilent."""
    names = _names_here(there.reconciler, key) if there.far is None else there.far.working_names(but=key.sni)
    if not names:
        msg = (
            f"No server name but {key.sni} works now, so the key has kept its link. `vpnkeys system targets` says what "
            "is wrong with each name; more can be set in VPNKEYS_REALITY_SERVER_NAMES."
        )
        raise TargetsUnready(msg)
    return next(iter(names))


def _names_here(reconciler: Reconciler, key: Key) -> Collection[str]:
    others = set(reconciler.site.server_names) - {key.sni}
    return reconciler.node.working_names(1, WAIT_FOR_NAMES_S, but=key.sni) if others else ()


def _name_that_works(there: KeyService, key: Key) -> str:
    """Return the key's server name. Raises TargetsUnready when the key is active and no client gets in by the name."""
    node = there.reconciler.node if there.far is None else there.far
    problem = node.problem_of_name(key.sni) if key.serves else ""
    if problem:
        msg = (
            f"A new link would not work: no client gets in by the key's server name ({problem}). Give sni as true as "
            "well, which gives the key another name."
        )
        raise TargetsUnready(msg)
    return key.sni
