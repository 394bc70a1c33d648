"""Renders the keys as JSON, once for each state of the database; what they have used is added to each answer.

Bots ask for the same keys all day. The store checks in microseconds whether any process has written keys, and returns
the same tuple until one has, so that what is kept here is never out of date.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.api.convert.keys import key_answer
from vpnkeys.api.listing import Query, page_of
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.service.limits.usage import UsageBoard

_NOTHING = WindowUsage(None, None, None)
_MOVING = {"used_in_window_bytes", "remaining_bytes", "resets_at"}


def json_of(key: Key) -> bytes:
    """Return a key as JSON, as the API shows it, without what it has used and without the brace at the end."""
    return key_answer(key, _NOTHING).model_dump_json(exclude=_MOVING).encode().removesuffix(b"}")


def _completed(key: bytes, usage: WindowUsage) -> bytes:
    """Return a whole key as JSON."""
    resets_at = None if usage.resets_at is None else usage.resets_at.isoformat(timespec="microseconds")
    used, left = json.dumps(usage.used_bytes), json.dumps(usage.remaining_bytes)
    moving = f',"used_in_window_bytes":{used},"remaining_bytes":{left},"resets_at":{json.dumps(resets_at)}}}'
    return key + moving.encode()


@dataclass(slots=True)
class _Snapshot:
    """Holds the keys of one state of the database, and the JSON that has been rendered of them.

    `all` is of the usage beside it.
    """

    keys: tuple[Key, ...]
    one: dict[str, tuple[Key, bytes]] = field(default_factory=dict)
    usage: tuple[WindowUsage, ...] = ()
    all: bytes | None = None


class RenderedKeys:
    """Keeps the JSON of each key, from the first request for it until a key changes."""

    def __init__(
        self, keys: Callable[[], tuple[Key, ...]], usage: UsageBoard, render: Callable[[Key], bytes] = json_of
    ) -> None:
        """Take `keys`, which returns the same tuple until one of them changes."""
        self._keys = keys
        self._usage = usage
        self._render = render
        self._snapshot = _Snapshot(())

    def one(self, id_or_uuid: str) -> bytes:
        """Return the key with this id or UUID as JSON. Raises KeyNotFound, StoreUnavailable."""
        snapshot = self._now()
        kept = snapshot.one.get(id_or_uuid)
        key, rendered = self._one(snapshot, find(snapshot.keys, id_or_uuid)) if kept is None else kept
        return _completed(rendered, self._usage.of(key))

    def page(self, query: Query) -> tuple[bytes, str]:
        """Return the keys that are wanted as JSON, oldest first, and the place of the next page, "" without one.

        Raises StoreUnavailable.
        """
        snapshot = self._now()
        page = page_of(snapshot.keys, query)
        return self._list(snapshot, page.keys, self._usage.of_each(page.keys)), page.next_after

    def all(self) -> bytes:
        """Return all keys as JSON, oldest first. Raises StoreUnavailable."""
        snapshot = self._now()
        usage = self._usage.of_all(snapshot.keys)
        if snapshot.all is None or snapshot.usage is not usage:
            # The JSON first: another thread that sees the new usage must find what belongs to it.
            snapshot.all = self._list(snapshot, snapshot.keys, usage)
            snapshot.usage = usage
        return snapshot.all

    def _list(self, snapshot: _Snapshot, keys: tuple[Key, ...], usage: tuple[WindowUsage, ...]) -> bytes:
        pairs = zip(keys, usage, strict=True)
        return b"[%s]" % b",".join(_completed(self._one(snapshot, key)[1], used) for key, used in pairs)

    def _one(self, snapshot: _Snapshot, key: Key) -> tuple[Key, bytes]:
        kept = snapshot.one.get(key.id)
        if kept is None:
            # By both names, and no other spelling: a caller can send a UUID in many.
            kept = snapshot.one[key.id] = snapshot.one[key.uuid] = key, self._render(key)
        return kept

    def _now(self) -> _Snapshot:
        # A local variable, because the event stream calls this from another thread, which may replace the attribute.
        snapshot, keys = self._snapshot, self._keys()
        if snapshot.keys is not keys:
            snapshot = self._snapshot = _Snapshot(keys)
        return snapshot
