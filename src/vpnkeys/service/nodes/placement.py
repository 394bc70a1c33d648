"""Chooses the node of a new key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vpnkeys.domain.errors import InvalidChoice, NodeNotFound, NodeSilent, PortsExhausted
from vpnkeys.domain.nodes import NodeRecord, NodeState, NodeWish, find_node
from vpnkeys.domain.portpool import PortRange

# Nodes that are tried for one key: the second, when the first cannot have it after all.
_TRIED = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node on which a key could be made. `state` is that of now, and `has_names` whether server names work there.

    `keys` are those that it has and those that are being placed; `taken` of its ports other programs have.
    """

    record: NodeRecord
    state: NodeState
    pool: PortRange
    keys: int
    taken: int
    has_names: bool

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Its place among others, the best first. One without names is the last: they may work in a moment."""
        return not self.has_names, -self.free * self.record.weight, self.record.ref.id

    @property
    def free(self) -> int:
        """How many more keys it may have."""
        ports = len(self.pool) - self.taken
        most = ports if self.record.max_keys is None else min(ports, self.record.max_keys)
        return max(0, most - self.keys)


def choose(candidates: Mapping[int, Candidate], wish: NodeWish, count: int = 1) -> tuple[NodeRecord, ...]:
    """Return the nodes to try for so many new keys, best first: where names work, most free candidates by weight.

    Raises InvalidChoice for a node or group that is not there, NodeSilent, and PortsExhausted.
    """
    if wish.node is not None:
        wanted = tuple(_named(candidates, wish.node))
    else:
        wanted = tuple(_of_group(candidates, "default" if wish.group is None else wish.group))
    able = [candidate for candidate in wanted if candidate.state is NodeState.UP]
    if not able:
        states = ", ".join(f"{candidate.record.ref.name} is {candidate.state}" for candidate in wanted)
        raise NodeSilent(f"No node can take a key now: {states}. Nothing was changed; try again when one is up.")
    roomy = [candidate for candidate in able if candidate.free >= count]
    if not roomy:
        rooms = ", ".join(f"{candidate.record.ref.name} can have {candidate.free}" for candidate in able)
        raise PortsExhausted(
            f"There is no room for {count} more: {rooms}. Delete a key, raise max_keys, or use another node. A port "
            "that another program has there is tried again after a minute."
        )
    best = sorted(roomy, key=lambda candidate: candidate.rank)
    return tuple(candidate.record for candidate in best[:_TRIED])


def _named(candidates: Mapping[int, Candidate], id_or_name: str) -> Iterator[Candidate]:
    records = [candidate.record for candidate in candidates.values()]
    try:
        yield candidates[find_node(records, id_or_name).ref.id]
    except NodeNotFound as error:
        names = ", ".join(record.ref.name for record in records)
        msg = f"node: there is no node with this id or name; there is {names}. It can be left out."
        raise InvalidChoice(msg) from error


def _of_group(candidates: Mapping[int, Candidate], group: str) -> Iterator[Candidate]:
    found = [candidate for candidate in candidates.values() if candidate.record.group == group]
    if not found:
        groups = ", ".join(sorted({candidate.record.group for candidate in candidates.values()}))
        msg = f"group: no node belongs to this group; there is {groups}. It can be left out."
        raise InvalidChoice(msg)
    yield from found
