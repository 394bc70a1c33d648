"""Repeats the first answer to a client that sends a request again because the answer did not reach it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from pydantic import TypeAdapter
from pydantic_core import to_json

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, KeptAnswer, KeyChanges
from vpnkeys.domain.errors import IdempotencyKeyReused, KeyNotFound
from vpnkeys.domain.key import Key
from vpnkeys.interfaces import Store


@dataclass(frozen=True, slots=True)
class Repeat:
    """Identifies a request to make a key by who sends it, its Idempotency-Key and its body.

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

    def find(self, store: Store, at: datetime, keys: Iterable[Key]) -> Key | None:
        """Return the key that was made for this request in the last 24 hours, with a link that works; else None.

        Raises IdempotencyKeyReused when the request had another body then, and KeyNotFound when the key is none of
        `keys`: neither would its first answer be true, nor would the sender expect a second key.
        """
        found = store.answered(self.key_hash, since=at - ANSWERS_KEPT_FOR)
        if found is None:
            return None
        if found.body_hash != self.body_hash:
            msg = "This Idempotency-Key came with another body before; use a new one for a new request."
            raise IdempotencyKeyReused(msg)
        made = _load(found.answer)
        present = next((key for key in keys if key.id == made.id), None)
        if present is None:
            raise KeyNotFound(
                "The key that this Idempotency-Key made has been deleted; send a new Idempotency-Key to make another."
            )
        # Since then it may have got a new link or another port: the link of the first answer would not work.
        return made if _link_facts(made) == _link_facts(present) else present

    def remember(self, changes: KeyChanges, at: datetime) -> KeyChanges:
        """Return these changes, which make one key, with the answer to store in the commit that makes it."""
        (key,) = changes.insert
        return replace(changes, answer=KeptAnswer(self.key_hash, self.body_hash, _dump(key), at))


def _link_facts(key: Key) -> tuple[object, ...]:
    return key.uuid, key.port, key.short_id, key.sni, key.fingerprint


@cache
def _as_json() -> TypeAdapter[Key]:
    """Return the converter, which is built at its first use: building it takes time that most starts can spare."""
    return TypeAdapter(Key)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _dump(key: Key) -> str:
    return _as_json().dump_json(key).decode()


def _load(answer: str) -> Key:
    return _as_json().validate_json(answer)
