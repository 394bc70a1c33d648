"""Keys that are being placed on nodes elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.domain.key import Key


@dataclass(frozen=True, slots=True)
class Placing:
    """A key that its node elsewhere is wanted to have before it is stored so: until the node has confirmed it.

    `owner` is the process that waits for that. `answer_hash` is the hash of the request's Idempotency-Key, "" without.
    """

    key: Key
    owner: str
    answer_hash: str = ""


def places_of(keys: Iterable[Key]) -> set[tuple[str, int]]:
    """Return which key is to live on which node, by their ids."""
    return {(key.id, key.node.id) for key in keys}
