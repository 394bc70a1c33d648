"""The first answer again, for a client that asks the same twice because it did not hear it."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from pydantic import TypeAdapter
from pydantic_core import to_json

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, Answer, KeyChanges
from vpnkeys.domain.errors import IdempotencyKeyReused
from vpnkeys.domain.key import Key
from vpnkeys.interfaces import Store


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request to make a key that may come again: the client's own key for it, and what it asks for.

    Both are kept as hashes: nobody needs to read them again.
    """

    key_hash: str
    body_hash: str

    @classmethod
    def of(cls, idempotency_key: str, body: object) -> "Repeat":
        """The request with this Idempotency-Key and this body (anything that pydantic can write as JSON)."""
        return cls(_hash(idempotency_key), _hash(to_json(body).decode()))

    def find(self, store: Store, at: datetime) -> Key | None:
        """The key that was made for this request before. Raises IdempotencyKeyReused when the body was another one."""
        found = store.answered(self.key_hash, since=at - ANSWERS_KEPT_FOR)
        if found is None:
            return None
        if found.body_hash != self.body_hash:
            msg = "This Idempotency-Key came with another body before; use a new one for a new request."
            raise IdempotencyKeyReused(msg)
        return _load(found.answer)

    def remember(self, changes: KeyChanges, at: datetime) -> KeyChanges:
        """Return changes that make one key, to be remembered from the commit that makes it."""
        (key,) = changes.insert
        return replace(changes, answer=Answer(self.key_hash, self.body_hash, _dump(key), at))


@cache
def _as_json() -> TypeAdapter[Key]:
    """Built when it is first needed."""
    return TypeAdapter(Key)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _dump(key: Key) -> str:
    return _as_json().dump_json(key).decode()


def _load(answer: str) -> Key:
    return _as_json().validate_json(answer)
