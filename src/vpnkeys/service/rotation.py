"""Gives a key a new link: another UUID, short id or server name."""

import logging
from dataclasses import dataclass, replace

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import KeysChangedMeanwhile, NothingToRotate, TargetsUnready
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.reality import new_short_id
from vpnkeys.interfaces import Node
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.keys import WAIT_FOR_NAMES_S
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Says what a key gets anew: its UUID, its short id, its server name."""

    uuid: bool = False
    short_id: bool = False
    sni: bool = False


def rotate(changer: KeyChanger, id_or_uuid: str, renewal: Renewal) -> Key:
    """Give a key a new link and return it: the same key, port and limits, and its traffic goes on.

    When this returns, the new link works, the old one does not, and its connections are cut. Raises KeyNotFound,
    NothingToRotate, TargetsUnready when the new link would not work, or what `KeyChanger.change` raises.
    """
    if not (renewal.uuid or renewal.short_id or renewal.sni):
        msg = "Say what the key is to get anew: give at least one of uuid, short_id and sni as true."
        raise NothingToRotate(msg)
    # Outside of the lock: it may wait for seconds.
    was = find(changer.reconciler.stops.keys(), id_or_uuid)
    name = _other_name(changer.reconciler, was) if renewal.sni else _name_that_works(changer.reconciler.node, was)

    def decide(seen: Snapshot) -> KeyChanges:
        key = seen.find(id_or_uuid)
        if (key.sni != name) != renewal.sni:
            msg = "The key's server name was changed at the same moment. Nothing else was changed; try again."
            raise KeysChangedMeanwhile(msg)
        key = replace(key, sni=name)
        if renewal.uuid:
            key = replace(key, uuid=seen.new_uuid(), first_uuid=key.account)
        if renewal.short_id:
            key = replace(key, short_id=new_short_id(seen.chance, seen.taken_short_ids))
        return KeyChanges(update=(key,))

    (key,) = changer.change(decide).update
    _log.info("key %s has a new link", key.id)
    return key


def _other_name(reconciler: Reconciler, key: Key) -> str:
    """Return a server name that works and is not the key's. Raises TargetsUnready when there is none."""
    others = set(reconciler.site.server_names) - {key.sni}
    names = reconciler.node.working_names(1, WAIT_FOR_NAMES_S, but=key.sni) if others else frozenset[str]()
    if not names:
        msg = (
            f"No server name but {key.sni} works now, so the key has kept its link. `vpnkeys system targets` says what "
            "is wrong with each name; more can be set in VPNKEYS_REALITY_SERVER_NAMES."
        )
        raise TargetsUnready(msg)
    return next(iter(names))


def _name_that_works(node: Node, key: Key) -> str:
    """Return the key's server name. Raises TargetsUnready when the key is active and no client gets in by the name."""
    problem = node.problem_of_name(key.sni) if key.serves else ""
    if problem:
        msg = (
            f"A new link would not work: no client gets in by the key's server name ({problem}). Give sni as true as "
            "well, which gives the key another name."
        )
        raise TargetsUnready(msg)
    return key.sni
