"""Keys that are being placed on nodes elsewhere."""

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
