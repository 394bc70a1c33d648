"""The first answer again, for a client that asks the same twice because it did not hear it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from pydantic import TypeAdapter
from pydantic_core import to_json

from vpnkeys.domain.errors import IdempotencyKeyReused
from vpnkeys.domain.key import Key
from vpnkeys.interfaces import Transaction

_REMEMBERED_FOR = timedelta(hours=24)


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

    def find(self, transaction: Transaction, at: datetime) -> Key | None:
        """The key that was made for this request before. Raises IdempotencyKeyReused when the body was another one."""
        found = transaction.remembered(self.key_hash, since=at - _REMEMBERED_FOR)
        if found is None:
            return None
        body_hash, answer = found
        if body_hash != self.body_hash:
            msg = "This Idempotency-Key came with another body before; use a new one for a new request."
            raise IdempotencyKeyReused(msg)
        return _load(answer)

    def once(self, transaction: Transaction, at: datetime, make: Callable[[], Key]) -> Key:
        """The key that was made for this request before, or the one made now.

        In the transaction that makes the key, so that it is made and remembered, or neither.
        """
        known = self.find(transaction, at)
        if known is not None:
            return known
        key = make()
        transaction.forget(before=at - _REMEMBERED_FOR)
        transaction.remember(self.key_hash, self.body_hash, _dump(key), at)
        return key


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
