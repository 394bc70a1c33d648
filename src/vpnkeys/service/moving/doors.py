"""Plans the doors of an import: the panel's inbounds, with which its customers' old links go on."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from vpnkeys.domain.key import PORT, Key, Keys
from vpnkeys.domain.moving import Customer, LeftOut, SharedInbound
from vpnkeys.domain.nodes.door import Door, Member, tag_of_door
from vpnkeys.service.moving.importing import MovePlan


def door_ports(customers: Iterable[Customer]) -> frozenset[int]:
    """Return the ports that doors of these customers may have, and their proxies, so that no new key gets one."""
    inbounds = {inbound for customer in customers for inbound, _ in customer.inbounds}
    return frozenset(port for one in inbounds for port in (one.port, one.link_port) if port is not None)


def with_doors(
    plan: MovePlan, keys: Iterable[Key], doors: Collection[Door], has_address: Callable[[str], bool]
) -> MovePlan:
    """Return the plan with a door for each inbound of the panel that can have one; `doors` are those that are here.

    A door that is here gets the keys that it lacks, and stays as it is otherwise. One of an inbound that listened on an
    address of another host listens where this server's own inbounds do.
    """
    here, taken = {door.tag: door for door in doors}, Keys.of((*keys, *plan.keys)).by(PORT)
    ports = {door.port: door.tag for door in doors}
    wanted: list[Door] = []
    why: list[str] = []
    more: list[str] = []
    for inbound, members in _members(plan.moved).items():
        tag = tag_of_door(inbound.tag, inbound.port)
        if reason := _obstacle(inbound, tag, taken, ports):
            why.append(f'The old links of inbound "{inbound.tag}" (port {inbound.port}) end: {reason}.')
            continue
        ports[inbound.port] = tag
        was = here.get(tag)
        is_here = not inbound.listen or has_address(inbound.listen)
        fresh = _door(inbound if is_here else replace(inbound, listen=""), tag, members)
        door = fresh if was is None or was.is_closing else _with_more(was, members)
        if door != was:
            wanted.append(door)
            more += _proxy(inbound)
            more += _moved(inbound, door)
    left_out = tuple(_without_flow(customer for customer, _ in plan.moved))
    return replace(plan, doors=tuple(wanted), notes=(*why, *map(_note, wanted), *more), left_out=left_out)


def _note(door: Door) -> str:
    return (
        f"Old links to port {door.port} go on for {len(door.members)} keys until you close the door: `vpnkeys import "
        f"close-door {door.tag}`. The panel and its Xray must not run any more."
    )


def _proxy(inbound: SharedInbound) -> Iterator[str]:
    """Yield what the operator has to keep where customers do not dial the inbound's own port."""
    if inbound.link_port is not None:
        yield (
            f'Old links of inbound "{inbound.tag}" go to port {inbound.link_port}, not to its own: the proxy there has '
            f"to go on forwarding to port {inbound.port}, where the door is."
        )


def _moved(inbound: SharedInbound, door: Door) -> Iterator[str]:
    """Yield that a door listens elsewhere than the inbound did."""
    if inbound.listen != door.listen:
        yield (
            f'Inbound "{inbound.tag}" listened on {inbound.listen}, which is no address of this host: the door listens '
            "where the keys do, and the host of the old links has to lead here."
        )


def _members(moved: Iterable[tuple[Customer, Key]]) -> Mapping[SharedInbound, list[Member]]:
    """Return who is in which inbound; not a key whose UUID is no longer that of the old link."""
    found: dict[SharedInbound, list[Member]] = {}
    for customer, key in moved:
        for inbound, flow in customer.inbounds:
            if flow is not None and key.uuid == key.account == customer.uuid:
                found.setdefault(inbound, []).append(Member.of(key, flow))
    return found


def _without_flow(customers: Iterable[Customer]) -> Iterator[LeftOut]:
    """Yield each old link that Xray cannot serve: with such a flow it refuses a whole config.json."""
    for customer in customers:
        for inbound, flow in customer.inbounds:
            if flow is None:
                why = f'the old link of inbound "{inbound.tag}" ends, as Xray has no flow like its own any more'
                yield LeftOut(customer.name, why)


def _obstacle(inbound: SharedInbound, tag: str, taken: Mapping[int, Key], ports: Mapping[int, str]) -> str:
    """Return why there can be no door for an inbound, or ""."""
    if inbound.no_door:
        return inbound.no_door
    if not (inbound.server_names and inbound.door_short_ids):
        return "it has no server name or no short id that can be used here"
    if inbound.port in taken:
        return f"its port is that of key {taken[inbound.port].id}"
    if ports.get(inbound.port, tag) != tag:
        return f"{ports[inbound.port]} has its port"
    if tag in ports.values() and ports.get(inbound.port) != tag:
        return f"there is another {tag}"
    return ""


def _door(inbound: SharedInbound, tag: str, members: Iterable[Member]) -> Door:
    return Door(
        tag=tag,
        port=inbound.port,
        target=inbound.target,
        server_names=inbound.server_names,
        private_key=inbound.key_pair.private_key,
        short_ids=inbound.door_short_ids,
        members=tuple(members),
        listen=inbound.listen,
    )


def _with_more(door: Door, members: Iterable[Member]) -> Door:
    new = tuple(member for member in members if member.key_id not in door.by_key)
    return replace(door, members=(*door.members, *new)) if new else door
