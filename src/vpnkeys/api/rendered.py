"""Renders keys as JSON, each once for as long as it stays as it is; what it has used is added to each answer.

Bots ask for the same keys all day, and change one of many: what is kept here is compared by the key itself, so that it
is never out of date, and a change costs no more than the key that it changed.
"""

from collections.abc import Callable
from datetime import datetime

from vpnkeys.api.convert.keys import key_answer
from vpnkeys.api.listing import Query, page_of
from vpnkeys.domain.key import ID, UUID, Key, Keys, find
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.service.limits.usage import UsageBoard

_NOTHING = WindowUsage(None, None, None)
_MOVING = {"used_in_window_bytes", "remaining_bytes", "resets_at"}


def json_of(key: Key) -> bytes:
    """Return a key as JSON, as the API shows it, without what it has used and without the brace at the end."""
    return key_answer(key, _NOTHING).model_dump_json(exclude=_MOVING).encode().removesuffix(b"}")


def _completed(key: bytes, usage: WindowUsage) -> bytes:
    """Return a whole key as JSON."""
    used, left, resets_at = _number(usage.used_bytes), _number(usage.remaining_bytes), _moment(usage.resets_at)
    return key + f',"used_in_window_bytes":{used},"remaining_bytes":{left},"resets_at":{resets_at}}}'.encode()


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _moment(value: datetime | None) -> str:
    return "null" if value is None else f'"{value.isoformat(timespec="microseconds")}"'


class RenderedKeys:
    """Keeps the JSON of each key, from the first request for it until that key changes."""

    def __init__(
        self, keys: Callable[[], tuple[Key, ...]], usage: UsageBoard, render: Callable[[Key], bytes] = json_of
    ) -> None:
        """Take `keys`, which returns the same tuple until one of them changes."""
        self._keys = keys
        self._usage = usage
        self._render = render
        self._one: dict[str, tuple[Key, bytes]] = {}
        """Keys without their usage, by id: each as it was when it was rendered."""
        self._whole: tuple[object, dict[str, tuple[Key, bytes]]] = None, {}
        """The same with their usage of one mark, by the id or UUID that was asked for."""
        self._all: tuple[tuple[Key, ...], tuple[WindowUsage, ...], bytes] = (), (), b"[]"

    def one(self, id_or_uuid: str) -> bytes:
        """Return the key with this id or UUID as JSON. Raises KeyNotFound, StoreUnavailable."""
        keys, mark, whole = Keys.of(self._keys()), self._usage.mark(), self._whole
        if whole[0] != mark:
            # Both at once: another thread must not put what is old into what is new.
            whole = self._whole = mark, {}
        known = whole[1].get(id_or_uuid)
        if known is None or not keys.has(known[0]):
            key = find(keys, id_or_uuid)
            known = key, _completed(self._json_of(key, keys), self._usage.of(key))
            # By both names, and no other spelling: a caller can send a UUID in many.
            for name, of_others in ((key.id, UUID), (key.uuid, ID)):
                if keys.by(of_others).get(name.lower(), key) is key:
                    whole[1][name] = known
        return known[1]

    def page(self, query: Query) -> tuple[bytes, str]:
        """Return the keys that are wanted as JSON, oldest first, and the place of the next page, "" without one.

        Raises StoreUnavailable.
        """
        keys = Keys.of(self._keys())
        page = page_of(keys, query)
        return self._list(page.keys, self._usage.of_each(page.keys), keys), page.next_after

    def all(self) -> bytes:
        """Return all keys as JSON, oldest first. Raises StoreUnavailable."""
        keys = self._keys()
        usage = self._usage.of_all(keys)
        kept = self._all
        if kept[0] is not keys or kept[1] is not usage:
            # All at once, as another thread may read it: the event stream is rendered in one of its own.
            kept = self._all = keys, usage, self._list(keys, usage, Keys.of(keys))
        return kept[2]

    def _list(self, keys: tuple[Key, ...], usage: tuple[WindowUsage, ...], present: Keys) -> bytes:
        pairs = zip(keys, usage, strict=True)
        return b"[%s]" % b",".join(_completed(self._json_of(key, present), used) for key, used in pairs)

    def _json_of(self, key: Key, present: Keys) -> bytes:
        """Return a key without its usage."""
        kept = self._one.get(key.id)
        if kept is None or kept[0] is not key:
            if len(self._one) > 2 * len(present):  # else those that are gone would stay for ever
                self._one = {known.id: (known, json) for known, json in [*self._one.values()] if present.has(known)}
            kept = self._one[key.id] = key, self._render(key)
        return kept[1]
