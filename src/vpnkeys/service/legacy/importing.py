"""Plans and writes the import of an installation of the 2.3 line, so that no customer notices.

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
from vpnkeys.service.change.storage import write_keys

_UNIQUE = ("id", "uuid", "port", "short_id")
"""The fields that must differ between any two keys."""

_BROUGHT = ("id", "name", "uuid", "created_at", "is_active", "port", "short_id", "sni", "flow")
"""The fields in which an imported key must equal the old one; the others may change here after an import."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Holds a reason why the installation cannot be imported. `message` is one line and says what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LegacyInstallation:
    """Holds an old installation as Xray served it: keys, the bytes each has used (by UUID), and the REALITY key pair.

    `clashes` were found while reading: keys that have one are not among `keys`. `notes` are sentences about
    decisions that were made.
    """

    keys: tuple[Key, ...]
    total_bytes: Mapping[str, int]
    key_pair: KeyPair
    clashes: tuple[Clash, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """Holds what to write. It is empty when there are clashes, and false when there is nothing to write.

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
    """Return what has to be written beside the existing keys, or all clashes that prevent it."""
    here = {key.uuid: key for key in existing_keys}
    unchanged = tuple(key for key in legacy.keys if key.uuid in here and not _differences(key, here[key.uuid]))
    # An import that is repeated finds its own keys again; they may have been used since and must not be reset.
    fresh = tuple(key for key in legacy.keys if key not in unchanged)
    clashes = (
        *legacy.clashes,
        *_doubles(legacy.keys),
        *_outside(fresh, pool),
        *(clash for key in fresh for clash in _against(key, existing_keys)),
        *_names_taken(fresh, existing_keys),
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

    No server runs meanwhile, so no node is asked: this writes as the last step of `service.change` does.

    The order makes a crash at any point harmless. Rows first, uncommitted: whatever the database refuses is refused
    while nothing has changed. Then the key pair, and only then the commit. A crash between the two leaves the right
    pair and no row, which the next run completes. The other way round it would leave rows with a foreign pair: their
    links would fail as soon as the server starts, and the next run would refuse them as keys of another server.
    The old pair is no loss: it is replaced only while no key was made with it.
    """
    write_keys(transaction, KeyChanges(insert=plan.keys))
    for key in plan.keys:
        transaction.ledger.open_account(key.account, plan.accounts[key.uuid])
    if plan.key_pair is not None:
        save_key_pair(plan.key_pair)


def describe(key: Key) -> str:
    """Return how messages name a key."""
    return f'key "{key.name}" ({key.uuid})'


def _doubles(keys: Sequence[Key]) -> Iterator[Clash]:
    """Yield a clash for each value that old keys share; of rows with the same UUID, only the UUID is reported."""
    for name in _UNIQUE:
        # Counted over all old keys, also those that are here: two links with one port cannot both work.
        for value, count in Counter(getattr(key, name) for key in keys).items():
            owners = [key for key in keys if getattr(key, name) == value]
            if count > 1 and (name == "uuid" or len({key.uuid for key in owners}) > 1):
                who = ", ".join(map(describe, owners))
                advice = _DOUBLE_ADVICE.get(name, "keep one of them and delete the other on the old server")
                yield Clash(f"duplicate_{name}", f"{name} {value} belongs to {who}: {advice}, then import again.")

    for key, other in _cross_named(keys, keys):
        yield Clash(
            "duplicate_id",
            f"id {key.id} of {describe(key)} is the uuid of {describe(other)}: give one of them another on the old "
            "server, then import again.",
        )


def _cross_named(keys: Iterable[Key], others: Iterable[Key]) -> Iterator[tuple[Key, Key]]:
    """Yield a key and another whose UUID, of now or of the beginning, is its id: a key is found by either."""
    owners = {uuid: other for other in others for uuid in (other.account, other.uuid)}
    for key in keys:
        other = owners.get(key.id.lower())
        if other is not None and other.id != key.id:
            yield key, other


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
    """Yield a clash for each value that a key to import shares with a key that exists here."""
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


def _names_taken(keys: Sequence[Key], existing_keys: Sequence[Key]) -> Iterator[Clash]:
    """Yield a clash for each id to import that is a UUID here, and for each UUID that is an id here."""
    ways = ((_cross_named(keys, existing_keys), "id"), (((b, a) for a, b in _cross_named(existing_keys, keys)), "uuid"))
    for pairs, name in ways:
        for key, other in pairs:
            yield Clash(
                f"{name}_taken",
                f"the {name} of {describe(key)} names {describe(other)} here already: delete that one here, or change "
                "the old one on the old server.",
            )


def _differences(key: Key, other: Key) -> tuple[str, ...]:
    """Return the fields in which two keys differ, of those that an import sets."""
    return tuple(name for name in _BROUGHT if getattr(key, name) != getattr(other, name))


def _other_pair(pair: KeyPair, existing_keys: Sequence[Key], existing_pair: KeyPair | None) -> Iterator[Clash]:
    """Yield a clash when keys here were made with another pair: a server has one, so one side's links would fail."""
    if existing_keys and existing_pair is not None and existing_pair != pair:
        yield Clash(
            "other_key_pair",
            f"the {len(existing_keys)} keys that are here were made with another REALITY key pair (public key "
            f"{existing_pair.public_key}, the old server's is {pair.public_key}): import into an empty data directory "
            "(VPNKEYS_DATA_DIR), or delete those keys first.",
        )
