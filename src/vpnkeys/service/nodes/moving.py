"""Moves the keys of a node to others: each starts at its new place, and then stops at the old one."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random, SystemRandom
from typing import Final, NamedTuple

from vpnkeys.domain.change import Arrival, KeyChanges, Snapshot
from vpnkeys.domain.errors import (
    InvalidChoice,
    KeysChangedMeanwhile,
    NodeNotFound,
    NodeSilent,
    PortsExhausted,
    TargetsUnready,
    VpnKeysError,
)
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.making import require_places
from vpnkeys.domain.nodes import LOCAL, NodeRecord, NodeRef, NodeState, NodeWish, find_node, state_of
from vpnkeys.service.keys import WAIT_FOR_NAMES_S, KeyService, ports_for
from vpnkeys.service.nodes.elsewhere import Elsewhere
from vpnkeys.service.nodes.far import CONFIRMED_WITHIN_S
from vpnkeys.service.nodes.placement import choose

_log = logging.getLogger(__name__)

# Keys that move in one change: an agent starts so many well within the time for which it is waited.
_AT_ONCE: Final = 50

_TRIES: Final = 3


class Moved(NamedTuple):
    """A key with its place before and after, and the links of both."""

    was: Key
    now: Key
    old_link: str
    link: str


class NotMoved(NamedTuple):
    """A key that has stayed where it is, as it is, and why."""

    key: Key
    error: VpnKeysError


@dataclass(frozen=True, slots=True)
class Moves:
    """What became of the keys of a node. `has_stopped`: the node has confirmed that their old links do not work."""

    node: NodeRef
    moved: tuple[Moved, ...]
    failed: tuple[NotMoved, ...]
    has_stopped: bool


@dataclass(frozen=True, slots=True)
class Mover:
    """Implements the move of a node's keys; each one is moved as a whole, or stays as it is."""

    keys: KeyService
    elsewhere: Elsewhere
    count_left: Callable[[Collection[str]], None]
    """Counts what keys that have left have used on this server. Raises XrayUnavailable."""
    within_s: float = CONFIRMED_WITHIN_S
    chance: Random = field(default_factory=SystemRandom)

    def move(self, id_or_name: str, to: str | None = None) -> Moves:
        """Give the keys of a node places on another one, or on others of its group; then their new links work.

        The node is waited for when it is up. Otherwise its places end the moment that it is back. Raises NodeNotFound,
        InvalidChoice, and NodeSilent when no node can take keys.
        """
        source = find_node(self.elsewhere.store.nodes(), id_or_name)
        shares, failed = self._shares(source, to)
        moved: list[Moved] = []
        for target, keys in shares:
            there, not_moved = self.keys.on(target), list[NotMoved]()
            for one in self._moved(there, source, keys, not_moved):
                moved.append(Moved(one.was, one.now, self.keys.link(one.was), self.keys.link(one.now)))
                _log.info("key %s moved from %s to %s", one.now.id, source.ref.name, target.ref.name)
            failed += not_moved
        return Moves(source.ref, tuple(moved), tuple(failed), self._has_stopped(source, [one.was for one in moved]))

    def _shares(
        self, source: NodeRecord, to: str | None
    ) -> tuple[Sequence[tuple[NodeRecord, list[Key]]], list[NotMoved]]:
        """Return the keys for each node, as many as it has room for, and those for which there is none."""
        candidates = self.elsewhere.candidates()
        wish = _wish(source, [one.record for one in candidates.values()], to)
        del candidates[source.ref.id]
        shares: dict[int, list[Key]] = {}
        failed: list[NotMoved] = []
        for key in Keys.of(self.keys.list()).on(source.ref.id):
            try:
                best, *_ = choose(candidates, wish)
            except PortsExhausted as error:
                failed.append(NotMoved(key, error))
                continue
            candidate = candidates[best.ref.id]
            candidates[best.ref.id] = replace(candidate, keys=candidate.keys + 1)
            shares.setdefault(best.ref.id, []).append(key)
        return [(candidates[node_id].record, keys) for node_id, keys in shares.items()], failed

    def _moved(
        self, there: KeyService, source: NodeRecord, keys: Sequence[Key], failed: list[NotMoved]
    ) -> Iterator[Arrival]:
        """Move keys to a node, many in one change or else one by one, and yield those that have moved."""
        is_silent: NodeSilent | None = None
        for part in (keys[at : at + _AT_ONCE] for at in range(0, len(keys), _AT_ONCE)):
            if is_silent is not None:
                failed += (NotMoved(key, is_silent) for key in part)
                continue
            try:
                yield from self._arrived(there, source, part)
                continue
            except NodeSilent as error:
                is_silent = error
                failed += (NotMoved(key, error) for key in part)
                continue
            except VpnKeysError:
                pass
            for key in part:
                try:
                    yield from self._arrived(there, source, [key])
                except VpnKeysError as error:
                    failed.append(NotMoved(key, error))

    def _arrived(self, there: KeyService, source: NodeRecord, keys: Collection[Key]) -> Sequence[Arrival]:
        """Move keys to a node in one change, and return those that were still there. Raises what the change raises."""
        names, ids = self._names(there), [key.id for key in keys]

        def decide(seen: Snapshot) -> KeyChanges:
            known = seen.everywhere.by(ID)
            coming = [key for one in ids if (key := known.get(one)) is not None and key.node.id == source.ref.id]
            require_places(self.elsewhere.store.nodes(), seen, len(coming))
            ports = ports_for(there.pool, seen, [None] * len(coming))
            placed = (self._placed(key, seen, port, names) for key, port in zip(coming, ports, strict=True))
            return KeyChanges(come=tuple(Arrival(was, now, seen.now) for was, now in zip(coming, placed, strict=True)))

        for tries_left in reversed(range(_TRIES)):
            try:
                return there.change_here(decide).come
            except KeysChangedMeanwhile:  # a limit was noted, or a request has changed it
                if not tries_left:
                    raise
        return ()

    def _placed(self, key: Key, seen: Snapshot, port: int, names: Collection[str]) -> Key:
        """Return a key at its new place; where its server name does not work there, with another one."""
        sni = key.sni if key.sni in names else self.chance.choice(sorted(names))
        return replace(key, node=seen.node, port=port, port_assigned_at=seen.now, sni=sni)

    @staticmethod
    def _names(there: KeyService) -> Collection[str]:
        """Return the server names that work on a node. Raises NodeSilent, TargetsUnready."""
        if there.far is not None:
            return there.far.supply(()).ready
        most = len(there.reconciler.site.server_names)
        if names := there.reconciler.node.working_names(most, WAIT_FOR_NAMES_S):
            return names
        msg = "No server name works on node local now; `vpnkeys system targets` says why. Nothing was changed."
        raise TargetsUnready(msg)

    def _has_stopped(self, source: NodeRecord, keys: Sequence[Key]) -> bool:
        """Return whether a node has stopped keys that have moved, which is waited for while it is up."""
        if source.ref.id == LOCAL.id:
            return self._stop_here(keys)
        board = self.elsewhere.board
        state = state_of(source, self.elsewhere.store.sightings().get(source.ref.id), self.elsewhere.clock.now())
        if state not in {NodeState.UP, NodeState.DRAINED}:
            return False
        wanted = board.wanted(source.ref.id)
        board.on_news(source.ref.id)
        return board.wait_for(source.ref.id, wanted, self.within_s) is not None

    def _stop_here(self, keys: Sequence[Key]) -> bool:
        """Let this server's Xray stop keys that have moved, whose stops are stored; its repairer does it otherwise."""
        reconciler = self.keys.reconciler
        try:
            self.keys.change_here(lambda seen: seen.stopping_here(key.id for key in keys))
            self.count_left([key.account for key in keys])
        except VpnKeysError:
            return False
        finally:
            reconciler.repair_soon()  # speed limits go with the ports
        used = {key.port for key in reconciler.stops.own_keys()}
        reconciler.taken.release(frozenset(key.port for key in keys) - used)
        return True


def _wish(source: NodeRecord, records: Collection[NodeRecord], to: str | None) -> NodeWish:
    """Return where the keys of a node may go. Raises InvalidChoice when that is nowhere."""
    others = [record for record in records if record.ref.id != source.ref.id]
    if to is not None:
        try:
            return NodeWish(node=str(find_node(others, to).ref.id))
        except NodeNotFound as error:
            names = ", ".join(record.ref.name for record in others) or "none"
            raise InvalidChoice(f"to: there is no other node with this id or name; there is {names}.") from error
    if not any(record.group == source.group for record in others):
        msg = f"to: no other node is in the group {source.group}; say to which node the keys are to move."
        raise InvalidChoice(msg)
    return NodeWish(group=source.group)
