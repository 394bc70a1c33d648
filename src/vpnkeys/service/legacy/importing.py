"""Take over an installation of the 2.3 line so that no customer notices: what it is, and what has to be written.

`plan_import` decides everything and changes nothing; `carry_out` does what it decided. As long as there is one clash,
nothing is written at all: half of an installation is worse than the old one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vpnkeys.domain.change import KeyChanges
from vpnkeys.domain.key import Key
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.interfaces import Transaction
from vpnkeys.service.change.rows import write_keys

_UNIQUE = ("id", "uuid", "port", "short_id")
"""What no two keys have in common."""

_BROUGHT = ("id", "name", "uuid", "created_at", "is_active", "port", "short_id", "sni", "flow")
"""What makes an imported key the same as the old one; whatever else a key has is ours to change."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Something that keeps the installation from being imported. `message` is one line and says what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LegacyInstallation:
    """An old installation as Xray really served it: keys, what each has used (by UUID), and the REALITY key pair.

    `clashes` were found while reading: keys that have one are not among `keys`. `notes` are decisions that were taken.
    """

    keys: tuple[Key, ...]
    total_bytes: Mapping[str, int]
    key_pair: KeyPair
    clashes: tuple[Clash, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What to write. With clashes it is empty; when there is nothing to do it is false.

    `accounts` are the totals of `keys` by UUID. `key_pair` is None when the stored one is the right one. `unchanged`
    are keys that are here already: neither they nor their totals are touched.
    """

    keys: tuple[Key, ...] = ()
    accounts: Mapping[str, int] = field(default_factory=dict)
    key_pair: KeyPair | None = None
    clashes: tuple[Clash, ...] = ()
    unchanged: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys) or self.key_pair is not None


def plan_import(
    legacy: LegacyInstallation, existing_keys: Sequence[Key], pool: PortRange, existing_pair: KeyPair | None
) -> ImportPlan:
    """What has to be written beside the existing keys, or everything that stands in the way."""
    here = {key.uuid: key for key in existing_keys}
    unchanged = tuple(key for key in legacy.keys if key.uuid in here and not _differences(key, here[key.uuid]))
    fresh = tuple(key for key in legacy.keys if key not in unchanged)
    clashes = (
        *legacy.clashes,
        *_doubles(legacy.keys),
        *_outside(fresh, pool),
        *(clash for key in fresh for clash in _against(key, existing_keys)),
        *_other_pair(legacy.key_pair, existing_keys, existing_pair),
    )
    if clashes:
        return ImportPlan(clashes=clashes, unchanged=unchanged)
    return ImportPlan(
        keys=fresh,
        accounts={key.uuid: legacy.total_bytes.get(key.uuid, 0) for key in fresh},
        key_pair=None if existing_pair == legacy.key_pair else legacy.key_pair,
        unchanged=unchanged,
    )


def carry_out(plan: ImportPlan, transaction: Transaction, save_key_pair: Callable[[KeyPair], object]) -> None:
    """Write a plan without clashes, inside a transaction that the caller commits right after.

    It is the end of the road that all changes of keys take (`service.change`); no server runs, so no node is asked.

    The order makes a crash at any point harmless. Rows first, uncommitted: whatever the database refuses is refused
    while nothing has changed. Then the key pair, and only then the commit. A crash between the two leaves the right
    pair and no row, which the next run completes. The other way round it would leave rows with a foreign pair: their
    links would be dead as soon as the server starts, and the next run would have to take them for somebody else's.
    The old pair is no loss: it is replaced only while no key was made with it.
    """
    write_keys(transaction, KeyChanges(insert=plan.keys))
    for key in plan.keys:
        transaction.ledger.open_account(key.uuid, plan.accounts[key.uuid])
    if plan.key_pair is not None:
        save_key_pair(plan.key_pair)


def describe(key: Key) -> str:
    """A key in a message."""
    return f'key "{key.name}" ({key.uuid})'


def _doubles(keys: Sequence[Key]) -> Iterator[Clash]:
    """Values that two old keys share, once for each value; of rows with one UUID nothing else is told."""
    for name in _UNIQUE:
        for value, count in Counter(getattr(key, name) for key in keys).items():
            owners = [key for key in keys if getattr(key, name) == value]
            if count > 1 and (name == "uuid" or len({key.uuid for key in owners}) > 1):
                who = ", ".join(map(describe, owners))
                advice = _DOUBLE_ADVICE.get(name, "keep one of them and delete the other on the old server")
                yield Clash(f"duplicate_{name}", f"{name} {value} belongs to {who}: {advice}, then import again.")


_DOUBLE_ADVICE = {
    "port": "give one of them another port on the old server and its customer the new link",
    "short_id": "give one of them a short_id of its own on the old server and its customer the new link",
}


def _outside(keys: Iterable[Key], pool: PortRange) -> Iterator[Clash]:
    for key in keys:
        if key.port not in pool:
            yield Clash(
                "port_out_of_range",
                f"{describe(key)} has port {key.port}, outside of {pool}: set VPNKEYS_PORT_RANGE to a range "
                f"with it, such as {min(pool.first, key.port)}-{max(pool.last, key.port)}.",
            )


def _against(key: Key, existing_keys: Iterable[Key]) -> Iterator[Clash]:
    """What a key that is not here yet has in common with those that are."""
    for other in existing_keys:
        if other.uuid == key.uuid:
            names = ", ".join(
                f"{name} ({getattr(other, name)} here, {getattr(key, name)} there)" for name in _differences(key, other)
            )
            yield Clash(
                "uuid_taken",
                f"{describe(key)} is here already with another {names}: make both the same, or delete the one that is "
                "wrong with its uuid.",
            )
            continue
        for name in _UNIQUE:
            if getattr(other, name) == getattr(key, name):
                yield Clash(
                    f"{name}_taken",
                    f"{describe(key)} has {name} {getattr(key, name)}, which {describe(other)} has here already: "
                    "delete that one here, or change the old one on the old server.",
                )


def _differences(key: Key, other: Key) -> tuple[str, ...]:
    """The fields in which two keys differ, of those that an import brings."""
    return tuple(name for name in _BROUGHT if getattr(key, name) != getattr(other, name))


def _other_pair(pair: KeyPair, existing_keys: Sequence[Key], existing_pair: KeyPair | None) -> Iterator[Clash]:
    """One server has one key pair; as long as keys were made with another one, links of one side would die."""
    if existing_keys and existing_pair is not None and existing_pair != pair:
        yield Clash(
            "other_key_pair",
            f"the {len(existing_keys)} keys that are here were made with another REALITY key pair (public key "
            f"{existing_pair.public_key}, the old server's is {pair.public_key}): import into an empty data directory "
            "(VPNKEYS_DATA_DIR), or delete those keys first.",
        )
