"""Does at doors what stops a key: by its own port alone, a customer with an old link would stay. Ends closed doors."""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from vpnkeys.domain.change import Stop
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.inbound import ServerIdentity, door_inbound
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.plan import Plan
from vpnkeys.interfaces import BRIEFLY_S, Store


def with_doors(site: ServerIdentity, doors: Iterable[Door]) -> ServerIdentity:
    """Return the site with the doors that are open; itself where these are the same."""
    opened = tuple(door for door in doors if not door.is_closing)
    return site if opened == site.doors else replace(site, doors=opened)


def tags_of(stops: Iterable[Stop], doors: Collection[Door]) -> list[str]:
    """Return the tags of the inbounds that let stopped keys in: their own, and those of their doors."""
    tags = {stop.key_id: stop.tag for stop in stops}
    return [*tags.values(), *(door.tag for door in doors if door.has_any(tags))]


def ends_of(stops: Collection[Stop], keys: Keys, doors: Iterable[Door]) -> Plan:
    """Return the plan that cuts the connections of stopped keys; `keys` are those of now, whose clients stay."""
    serving = {key.port for key in keys if key.serves}
    return Plan(
        cut=tuple(stop.port for stop in stops if stop.port not in serving),
        cut_users=tuple(one for door in doors for one in _users_out(door, stops, keys)),
    )


def repeated(todo: Plan, stops: Collection[Stop], keys: Keys, site: ServerIdentity) -> Plan:
    """Return the plan that also repeats stops which the node has not confirmed: a call may be lost, or yet to come."""
    planned, ids = {inbound.tag for inbound in todo.add}, {stop.key_id for stop in stops}
    doors = [door for door in site.doors if door.has_any(ids) and door.tag not in planned]
    anew = (door_inbound(door, keys, site) for door in doors)
    ends = ends_of(stops, keys, site.doors)
    return replace(
        todo,
        remove=(*todo.remove, *(stop.tag for stop in stops), *(door.tag for door in doors)),
        cut=(*todo.cut, *ends.cut),
        add=(*todo.add, *(inbound for inbound in anew if inbound is not None)),
        cut_users=(*todo.cut_users, *ends.cut_users),
    )


def _users_out(door: Door, stops: Iterable[Stop], keys: Keys) -> Iterable[tuple[int, str]]:
    """Return the port and the account of each stopped key that the door knows and does not let in."""
    # Most changes stop no key of a door: who is let in is not worked out for them.
    known = [door.by_key[stop.key_id].uuid for stop in stops if stop.key_id in door.by_key]
    let_in = {member.uuid for member in door.let_in(keys)} if known else set()
    return [(door.port, account) for account in known if account not in let_in]


def finish_closing(store: Store, apply: Callable[[Plan], None], *, is_over: bool) -> None:
    """End what is left of doors that are being closed: connections, and what is stored once no call can open them.

    Their inbounds are gone by now, perhaps by a call that was carried out late, which cuts nothing.
    """
    closing = [door for door in store.doors() if door.is_closing]
    if not closing:
        return
    apply(Plan(cut=tuple(door.port for door in closing)))
    if is_over:
        with suppress(StoreUnavailable), store.write(patience_s=BRIEFLY_S) as transaction:
            for door in closing:
                transaction.nodes.remove_door(door.tag)
