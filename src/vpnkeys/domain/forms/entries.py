"""The entries of a subscription: one for each key, under names that no client confuses."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status

ENDED_ADDRESS = "127.0.0.1"
ENDED_PORT = 1
ENDED_UUID = "00000000-0000-0000-0000-000000000000"
"""Where the entry of a key that does not work leads: to the device itself, at a port where nothing listens."""

_ENDED_MARK = "⛔"

GROUP = "VPN"
"""The name of the group that holds the entries, from which a customer chooses one."""

# Names that sing-box's configuration and mihomo already use, which an entry cannot have.
_TAKEN = frozenset({GROUP, "direct", "COMPATIBLE", "DIRECT", "GLOBAL", "PASS", "PASS-RULE", "REJECT", "REJECT-DROP"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as a client lists it. `name` is its own, and says why a key does not work."""

    key: Key
    name: str

    @property
    def works(self) -> bool:
        """Whether customers can connect by this entry."""
        return self.key.serves


def entries_of(keys: Iterable[Key], why: Callable[[Status], str]) -> tuple[Entry, ...]:
    """Return an entry for each key: those that work first, each kind in the order of the keys.

    `why` says in the customer's language what is wrong with a key that does not work.
    """
    taken = set(_TAKEN)
    entries = []
    for key in sorted(keys, key=lambda key: not key.serves):
        name = key.name if key.serves else f"{_ENDED_MARK} {key.name}: {why(key.status)}"
        entries.append(Entry(key, _unlike(taken, name)))
    return tuple(entries)


def _unlike(taken: set[str], name: str) -> str:
    """Return the name, with a number when another has it, and take it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    taken.add(free)
    return free
