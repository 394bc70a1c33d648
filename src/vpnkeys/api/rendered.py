"""Renders the keys as JSON, once for each state of the database.

Bots ask for the same keys all day. The store checks in microseconds whether any process has written keys, and returns
the same tuple until one has, so that what is kept here is never out of date.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.api.convert.keys import key_answer
from vpnkeys.domain.key import Key, find


def json_of(key: Key) -> bytes:
    """Return a key as JSON, as the API shows it."""
    return key_answer(key).model_dump_json().encode()


@dataclass(slots=True)
class _Snapshot:
    """Holds the keys of one state of the database, and the JSON that has been rendered of them."""

    keys: tuple[Key, ...]
    one: dict[str, bytes] = field(default_factory=dict)
    all: bytes | None = None


class RenderedKeys:
    """Keeps the JSON of each key, and of all keys, from the first request for it until a key changes."""

    def __init__(self, keys: Callable[[], tuple[Key, ...]], render: Callable[[Key], bytes] = json_of) -> None:
        """Take `keys`, which returns the same tuple until one of them changes."""
        self._keys = keys
        self._render = render
        self._snapshot = _Snapshot(())

    def one(self, id_or_uuid: str) -> bytes:
        """Return the key with this id or UUID as JSON. Raises KeyNotFound, StoreUnavailable."""
        snapshot = self._now()
        kept = snapshot.one.get(id_or_uuid)
        return self._one(snapshot, find(snapshot.keys, id_or_uuid)) if kept is None else kept

    def named(self, name: str) -> bytes:
        """Return the keys with exactly this name as JSON, oldest first. Raises StoreUnavailable."""
        snapshot = self._now()
        return b"[%s]" % b",".join(self._one(snapshot, key) for key in snapshot.keys if key.name == name)

    def all(self) -> bytes:
        """Return all keys as JSON, oldest first. Raises StoreUnavailable."""
        snapshot = self._now()
        if snapshot.all is None:
            snapshot.all = b"[%s]" % b",".join(map(self._render, snapshot.keys))
        return snapshot.all

    def _one(self, snapshot: _Snapshot, key: Key) -> bytes:
        kept = snapshot.one.get(key.id)
        if kept is None:
            # By both names, and no other spelling: a caller can send a UUID in many.
            kept = snapshot.one[key.id] = snapshot.one[key.uuid] = self._render(key)
        return kept

    def _now(self) -> _Snapshot:
        # A local variable, because the event stream calls this from another thread, which may replace the attribute.
        snapshot, keys = self._snapshot, self._keys()
        if snapshot.keys is not keys:
            snapshot = self._snapshot = _Snapshot(keys)
        return snapshot
