"""Plans and writes the import of another panel's customers: each gets a key with a port and a link of its own.

`plan_move` decides and changes nothing; `carry_out` does what it decided. Customers who are here already are left as
they are, so that an import can be repeated.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import PortsExhausted
from vpnkeys.domain.key import Key, Taken
from vpnkeys.domain.limits import Window
from vpnkeys.domain.making import Choices, Draft, Supply, made
from vpnkeys.domain.moving import Customer, LeftOut, Panel
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair, pad_short_id
from vpnkeys.domain.traffic import Samples
from vpnkeys.interfaces import Transaction
from vpnkeys.service.change.storage import write_keys
from vpnkeys.service.keys import ports_for


@dataclass(frozen=True, slots=True)
class Here:
    """What this server has: its ports, server names and key pair, None before it has one.

    `samples` are the counters of the running Xray, None when none runs.
    """

    pool: PortRange
    server_names: tuple[str, ...]
    key_pair: KeyPair | None
    samples: Samples | None = None


@dataclass(frozen=True, slots=True)
class MovePlan:
    """Holds what to write; it is false when there is nothing to write.

    `used_bytes` are the totals of the new keys by account. `key_pair` is the panel's, when it becomes this server's.
    `unchanged` are the keys of customers who are here already. `moved` has the key of each customer, of both kinds.
    `doors` are those to write, `notes` say of the panel's inbounds whether their old links go on,
    `left_out` which customers' do not.
    """

    changes: KeyChanges = KeyChanges()  # noqa: RUF009 - frozen
    used_bytes: Mapping[str, int] = field(default_factory=dict)
    key_pair: KeyPair | None = None
    unchanged: tuple[Key, ...] = ()
    moved: tuple[tuple[Customer, Key], ...] = ()
    doors: tuple[Door, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.doors)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys to make."""
        return self.changes.insert


def plan_move(panel: Panel, seen: Snapshot, here: Here) -> MovePlan:
    """Return what has to be written beside the existing keys.

    Raises PortsExhausted when there are not enough free ports for all, and what `made` raises.
    """
    # By both, because a key may have got another UUID here since it was imported.
    known = {uuid: key for key in seen.keys for uuid in (key.account, key.uuid)}
    fresh = [one for one in panel.customers if one.uuid not in known]
    used = {one.uuid: one.used_bytes for one in fresh}
    seen = replace(seen, used_bytes=lambda since: {uuid: used.get(uuid, 0) for uuid in since})
    drafts = _drafts(fresh, seen, here.server_names)
    changes = made(seen, drafts, _ports(here.pool, seen, len(drafts)), _supply(here))
    keys = tuple(
        replace(key, created_at=one.created_at or key.created_at)
        for key, one in zip(changes.insert, fresh, strict=True)
    )
    moved = {one.uuid: (one, key) for one, key in zip(fresh, keys, strict=True)}
    moved |= {one.uuid: (one, known[one.uuid]) for one in panel.customers if one.uuid in known}
    return MovePlan(
        changes=replace(changes, insert=keys),
        used_bytes=used,
        key_pair=_key_pair(fresh, seen, here.key_pair),
        unchanged=tuple(dict.fromkeys(known[one.uuid] for one in panel.customers if one.uuid in known)),
        moved=tuple(moved[one.uuid] for one in panel.customers),
    )


def carry_out(
    plan: MovePlan, transaction: Transaction, now: datetime, save_key_pair: Callable[[KeyPair], object]
) -> None:
    """Write a plan inside a transaction that the caller commits right after; no server runs meanwhile.

    The order makes a crash at any point harmless, for the reasons that `service/legacy/importing.py` has.
    """
    for door in plan.doors:
        transaction.nodes.put_door(door)
        transaction.record(Entry("door.opened", door.tag, after={"port": door.port, "keys": len(door.members)}))
    write_keys(transaction, replace(plan.changes, counted=None))
    for key in plan.keys:
        # In a window that begins anew, what was used there counts until it does.
        counts_at = None if key.limits.traffic_window == Window.TOTAL else now
        transaction.ledger.open_account(key.account, plan.used_bytes[key.account], counts_at)
    if plan.changes.counted is not None:
        transaction.ledger.start_from(plan.changes.counted)  # after the accounts, as these begin without an offset
    if plan.key_pair is not None:
        save_key_pair(plan.key_pair)


def _drafts(customers: Sequence[Customer], seen: Snapshot, names: Collection[str]) -> list[Draft]:
    """Return what is chosen for each key: the UUID, and as far as it goes a short id and server name of its inbound."""
    taken = seen.taken_short_ids
    return [
        Draft(
            name=one.name,
            note=one.note,
            limits=one.limits,
            is_active=one.is_active,
            choices=Choices(uuid=one.uuid, short_id=_short_id(one, taken), sni=next(_known_names(one, names), None)),
        )
        for one in customers
    ]


def _short_id(customer: Customer, taken: Taken) -> str | None:
    """Return a short id of the customer's inbound that no key has, and take it: short ids are unique here."""
    for short_id in customer.inbound.short_ids if customer.inbound else ():
        if pad_short_id(short_id) not in taken:
            taken.others.add(pad_short_id(short_id))
            return short_id
    return None


def _known_names(customer: Customer, names: Collection[str]) -> Iterator[str]:
    return (name for name in (customer.inbound.server_names if customer.inbound else ()) if name in names)


def _supply(here: Here) -> Supply:
    """Return what new keys may have: no server runs that would know which names work now, so all of them."""
    return Supply(here.server_names, here.server_names, here.samples)


def _ports(pool: PortRange, seen: Snapshot, count: int) -> tuple[int, ...]:
    try:
        return ports_for(pool, seen, [None] * count)
    except PortsExhausted as error:
        wanted = len(seen.keys) + count
        msg = (
            f"{count} keys need a port each, and {pool} has not so many free ones: set VPNKEYS_PORT_RANGE to a range "
            f"such as {pool.first}-{min(pool.first + 2 * wanted, 65535)}, then import again; nothing was imported."
        )
        raise PortsExhausted(msg) from error


def _key_pair(customers: Sequence[Customer], seen: Snapshot, existing: KeyPair | None) -> KeyPair | None:
    """Return the pair that most customers have, if this server can have it: no key was made with another one.

    A server that has none gets one, so that the new links can be given out.
    """
    if seen.keys:
        return None
    pairs = [one.inbound.key_pair for one in customers if one.inbound is not None]
    most = max(dict.fromkeys(pairs), key=pairs.count, default=None)
    if most is None:
        return KeyPair.new() if existing is None else None
    return None if most == existing else most
