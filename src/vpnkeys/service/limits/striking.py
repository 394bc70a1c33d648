"""Stops keys whose limits are reached, and starts those whose limits allow it again."""

import logging
from collections.abc import Collection

from vpnkeys.domain.change import KeyChanges, Snapshot, Stages
from vpnkeys.domain.errors import NotWritten, StoreUnavailable, XrayRefused
from vpnkeys.domain.key import ACCOUNT, ID, Key, Keys
from vpnkeys.domain.traffic import EpochSample, Samples
from vpnkeys.interfaces import BRIEFLY_S
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.change.storage import write_keys

_log = logging.getLogger(__name__)

_PATIENCE_AT_START_S = 2.0


def enforce_limits(
    changer: KeyChanger, fresh: Collection[Samples] = (), accounts: Collection[str] | None = None
) -> tuple[Key, ...]:
    """Stop each key whose limits are reached, start each whose limits allow it again; return the changed keys.

    Only those with these `accounts` are looked at, without them all.
    The counters in `fresh` count as used, although they are not merged yet. A key whose port another program took
    meanwhile starts once the port is free. Raises Unavailable; XrayRefused only after all other keys have started.
    """
    with changer.reconciler.changing:
        seen = changer.snapshot(fresh)
        changer.reconciler.stops.fresh = tuple(EpochSample(one, seen.now, has_ended=False) for one in fresh)
        changed = changed_by_limits(seen, accounts)
        stopping = tuple(key for key in changed if not key.serves)
        served = {key.id for key in Keys.of(seen.keys).among(map(ID, changed)) if key.serves}
        # Keys whose time has begun: they go on, on ports that are not free because they listen there.
        staying = tuple(key for key in changed if key.serves and key.id in served)
        returning = [key for key in changed if key.serves and key.id not in served and seen.is_free(key.port)]
        # Stops first and together, starts one by one: a key that fails to start must not keep others from stopping,
        # and takes none of the other starts back with it.
        if stopping:
            _stop_now(changer, stopping)
        if staying:
            changer.change(lambda _seen: KeyChanges(update=staying), patience_s=BRIEFLY_S)
        refused = {key.id: error for key in returning if (error := _try_to_start(changer, key)) is not None}
    changed = tuple(key for key in (*stopping, *staying, *returning) if key.id not in refused)
    for key in changed:
        _log.info("key %s is %s now", key.id, key.status)
    for error in refused.values():
        raise error
    return changed


def enforce_before_start(changer: KeyChanger) -> None:
    """Write the limit status of all keys before Xray starts, so that it never runs a key that expired meanwhile.

    Stops hold that are not stored, of now and of the last server. Raises StoreUnavailable when nothing can be read.
    """
    (stops := changer.reconciler.stops).take_up()
    changes = KeyChanges(update=changed_by_limits(seen := changer.snapshot()))
    if not (changes or stops.are_unwritten):
        return
    try:
        with changer.reconciler.store.write(patience_s=_PATIENCE_AT_START_S) as transaction:
            stops.write(transaction)
            write_keys(transaction, changes)
        stops.have_been_written()
    except StoreUnavailable as error:
        _log.error("limits that were reached meanwhile are in force, and are stored later: %s", error)
        stopping = KeyChanges(update=tuple(key for key in changes.update if not key.serves))
        stops.keep(stopping, Stages.of(seen, stopping).stops)


def changed_by_limits(seen: Snapshot, accounts: Collection[str] | None = None) -> tuple[Key, ...]:
    """Return the keys whose limit status is not what is stored, with the status that they should have now.

    Only those with these `accounts` are looked at, without them all.
    """
    keys = seen.keys if accounts is None else Keys.of(seen.keys).those(ACCOUNT, accounts)
    return tuple(now for key, now in zip(keys, seen.under_limits(keys), strict=True) if now is not key)


def _stop_now(changer: KeyChanger, keys: tuple[Key, ...]) -> None:
    """Stop keys in the running Xray, whether or not the disk takes it now. Raises StopPending."""
    try:
        changer.change(lambda _seen: KeyChanges(update=keys), patience_s=BRIEFLY_S)
    except NotWritten as error:
        # The keys have stopped, and what is missing is written by the repairer: nothing is left to do here.
        _log.warning("%s", error)


def _try_to_start(changer: KeyChanger, key: Key) -> XrayRefused | None:
    """Start a key; return the error when Xray refuses it, which says nothing about other keys."""
    try:
        changer.change(lambda _seen: KeyChanges(update=(key,)), patience_s=BRIEFLY_S)
    except XrayRefused as error:
        return error
    return None
