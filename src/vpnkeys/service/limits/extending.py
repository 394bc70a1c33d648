"""Lets keys expire later."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import chain

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.key import Key
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.keys import KeyService


def extend(keys: KeyService, ids: Iterable[str], by: timedelta, repeat: Repeat | None = None) -> tuple[Key, ...]:
    """Let keys expire later by this time and return them. Keys that never expire are not changed.

    For a key that has expired, the time counts from now; for one that waits for its first byte it is longer.
    `repeat` is as for `KeyService.create_many`. Raises KeyNotFound, and what `KeyService.change_once` raises.
    """

    def extend_there(there: KeyService, its_ids: Sequence[str]) -> tuple[Key, ...]:
        return there.change_once(partial(_decide, its_ids, by), repeat and repeat.on(there.node))[0]

    ids = tuple(ids)
    with keys.repeats.alone(repeat):
        # Before anything is stored: who asks again after an error would extend what was stored once more.
        for there, _ in keys.by_node(ids):
            if there.far is not None:
                there.far.require_heard()
        return tuple(chain.from_iterable(keys.on_each_node(ids, extend_there)))


def _decide(ids: Sequence[str], by: timedelta, seen: Snapshot) -> KeyChanges:
    # A dict keeps the order and drops repetitions: a key that is named twice is extended once.
    chosen = dict.fromkeys(seen.find(key_id) for key_id in ids)
    extended = (replace(key, limits=key.limits.extended(by, seen.now)) for key in chosen)
    return KeyChanges(update=seen.under_limits(extended))
