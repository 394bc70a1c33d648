"""Repeats the first answer to a client that sends a request again because the answer did not reach it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from threading import Condition

from pydantic import TypeAdapter
from pydantic_core import to_json

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, KeptAnswer, KeyChanges, Snapshot
from vpnkeys.domain.errors import IdempotencyKeyReused, KeyNotFound
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.nodes import LOCAL, NodeRef
from vpnkeys.interfaces import Store
from vpnkeys.service.reconcile import Reconciler

Decide = Callable[[Snapshot], KeyChanges]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Identifies a request to make or change keys by who sends it, its Idempotency-Key and its body.

    They are kept as SHA-256 hashes: they are only compared, and a client's key may be of any length.
    """

    key_hash: str
    body_hash: str

    @classmethod
    def of(cls, identity_id: str, idempotency_key: str, body: object) -> "Repeat":
        """Return this identity's request with this Idempotency-Key and body (anything that pydantic writes as JSON).

        Two sellers may number their orders alike, and must not get each other's keys.
        """
        return cls(_hash(json.dumps([identity_id, idempotency_key])), _hash(to_json(body).decode()))

    def find(self, store: Store, at: datetime, keys: Callable[[], tuple[Key, ...]]) -> tuple[Key, ...] | None:
        """Return the keys of this request in the last 24 hours, with links that work; None when there was none.

        Raises IdempotencyKeyReused when the request had another body then, and KeyNotFound when a key is none of
        `keys`: neither would the first answer be true, nor would the sender expect that more is made.
        """
        found = store.answered(self.key_hash, since=at - ANSWERS_KEPT_FOR)
        if found is None:
            return None
        if found.body_hash != self.body_hash:
            msg = "This Idempotency-Key came with another body before; use a new one for a new request."
            raise IdempotencyKeyReused(msg)
        answered = _load(found.answer)
        # Read after the answer: another process may have made the keys just before it.
        present = Keys.of(keys()).by(ID)
        if any(key.id not in present for key in answered):
            raise KeyNotFound(
                "A key that this Idempotency-Key made or changed has been deleted; send a new Idempotency-Key to make "
                "another."
            )
        # Since then one may have got a new link or another port: the link of the first answer would not work.
        return tuple(key if _link_facts(key) == _link_facts(present[key.id]) else present[key.id] for key in answered)

    def on(self, node: NodeRef) -> "Repeat":
        """Return what identifies the part of this request that concerns a node: each is carried out by itself."""
        return self if node.id == LOCAL.id else replace(self, key_hash=_hash(f"{self.key_hash} {node.id}"))

    def remember(self, changes: KeyChanges, at: datetime) -> KeyChanges:
        """Return these changes with the answer to store in their last commit: the keys that they make or change."""
        return replace(changes, answer=KeptAnswer(self.key_hash, self.body_hash, _dump(_keys_of(changes)), at))


class _AnsweredError(Exception):
    """Says that a request has been answered meanwhile, with these keys."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        super().__init__(len(keys))
        self.keys = keys


def answered(reconciler: Reconciler, at: datetime, repeat: Repeat | None) -> tuple[Key, ...] | None:
    """Return the keys of the first answer to a request; None when there was none. Raises what `Repeat.find` does."""
    if repeat is None:
        return None
    if reconciler.stops.are_unwritten:  # among them may be a key that is taken back, which is no answer
        with reconciler.changing:
            reconciler.write_what_is_left()
    return repeat.find(reconciler.store, at, reconciler.stops.keys)


def change_once(
    reconciler: Reconciler,
    change: Callable[[Decide], KeyChanges],
    decide: Decide,
    repeat: Repeat | None,
) -> tuple[tuple[Key, ...], bool]:
    """Carry a decision out by `change`, and return the keys that it makes or changes, and True.

    With `repeat` it is carried out once: for the same request again the first keys are returned, and False. Raises what
    `change` and `Repeat.find` raise.
    """

    def decide_once(seen: Snapshot) -> KeyChanges:
        # In the decision: another process may have carried out the same request since this one was looked for.
        if (known := answered(reconciler, seen.now, repeat)) is not None:
            raise _AnsweredError(known)
        changes = decide(seen)
        return changes if repeat is None else repeat.remember(changes, seen.now)

    try:
        return _keys_of(change(decide_once)), True
    except _AnsweredError as error:
        return error.keys, False


class Repeats:
    """Lets one of several equal requests be carried out at a time: the others find its answer.

    The lock of changes is not enough: that of a node elsewhere is released while its agent is waited for.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._hashes: set[str] = set()

    @contextmanager
    def alone(self, repeat: Repeat | None) -> Iterator[None]:
        """Wait until no other request with the same Idempotency-Key is carried out, and keep others waiting."""
        if repeat is None:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: repeat.key_hash not in self._hashes)
            self._hashes.add(repeat.key_hash)
        try:
            yield
        finally:
            with self._changed:
                self._hashes.discard(repeat.key_hash)
                self._changed.notify_all()


def _keys_of(changes: KeyChanges) -> tuple[Key, ...]:
    return (*changes.insert, *changes.update)


def _link_facts(key: Key) -> tuple[object, ...]:
    return key.uuid, key.port, key.short_id, key.sni, key.fingerprint


@cache
def _as_json() -> TypeAdapter[Key | tuple[Key, ...]]:
    """Return the converter, which is built at its first use: building it takes time that most starts can spare."""
    return TypeAdapter(Key | tuple[Key, ...])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _dump(keys: tuple[Key, ...]) -> str:
    # One key as itself, as earlier versions stored it and can read it.
    return _as_json().dump_json(keys[0] if len(keys) == 1 else keys).decode()


def _load(answer: str) -> tuple[Key, ...]:
    found = _as_json().validate_json(answer)
    return found if isinstance(found, tuple) else (found,)
