"""Makes nodes, changes and removes them, and lets agents join."""

import logging
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, replace

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.change import Stop
from vpnkeys.domain.errors import AlreadyTaken, InvalidChoice, NodeNotEmpty
from vpnkeys.domain.event import Kind, event_of_node
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes import (
    LOCAL,
    RENEW_AFTER,
    Join,
    NodeRecord,
    NodeState,
    find_node,
    id_of_node,
    is_digest_of,
    new_join,
    new_node_token,
)
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.token import digest_of
from vpnkeys.interfaces import Clock, Store
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.refusals import Refusals
from vpnkeys.service.nodes.reports import take_token

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeAdmin:
    """Implements the use cases about nodes as such. What an agent may do follows from its token."""

    board: Board
    clock: Clock
    refusals: Refusals

    @property
    def _store(self) -> Store:
        return self.board.store

    def add(self, new: NodeRecord) -> tuple[NodeRecord, Join, str]:
        """Make a node; return it with its id, and how an agent joins as it. Raises AlreadyTaken."""
        with self._store.write() as transaction:
            self._refuse_taken(new)
            made = transaction.nodes.add(replace(new, state=NodeState.JOINING))
            join, text = new_join(made.ref.id, self.clock.now())
            transaction.nodes.put_join(join)
            transaction.record(Entry("node.created", str(made.ref.id), after=_facts(made)))
        self.board.on_made()
        _log.info("node %s made", made.ref.name)
        return made, join, text

    def change(self, id_or_name: str, change: Callable[[NodeRecord], NodeRecord]) -> NodeRecord:
        """Change a node and return it. Raises NodeNotFound, InvalidChoice, AlreadyTaken."""
        with self._store.write() as transaction:
            was = find_node(self._store.nodes(), id_or_name)
            now = change(was)
            _refuse_change(was, now)
            self._refuse_taken(now)
            transaction.nodes.put(now)
            if now.state is NodeState.LOST is not was.state:
                transaction.add_event(event_of_node(Kind.NODE_LOST, now.ref))
            before, after = _facts(was), _facts(now)
            changed = [name for name in after if before[name] != after[name]]
            if changed:
                was_facts, now_facts = ({name: facts[name] for name in changed} for facts in (before, after))
                transaction.record(Entry("node.changed", str(now.ref.id), was_facts, now_facts))
        self.board.on_news(now.ref.id)
        return now

    def remove(self, id_or_name: str) -> NodeRecord:
        """Remove a node that has no keys, or one that is lost with its keys. Raises NodeNotFound, NodeNotEmpty."""
        with self.board.deciding, self._store.write() as transaction:
            node = find_node(self._store.nodes(), id_or_name)
            if node.ref.id == LOCAL.id:
                raise InvalidChoice("The built-in node is this server itself, and cannot be removed.")
            keys = Keys.of(transaction.keys()).on(node.ref.id)
            stops = [stop for stop in transaction.stops() if stop.node_id == node.ref.id]
            _refuse_use(node, keys, stops)
            for key in keys:
                transaction.delete(key.id)
            transaction.drop_stops([stop.key_id for stop in stops], node.ref.id)
            transaction.nodes.remove(node.ref.id)
            transaction.record(Entry("node.removed", str(node.ref.id), before=_facts(node)))
        self.board.forget(node.ref)
        return node

    def replace(self, id_or_name: str) -> tuple[NodeRecord, Join, str]:
        """Let a new machine take the place of a node; return the node, and how its agent joins.

        The node stays as it is until then. Raises NodeNotFound, InvalidChoice.
        """
        with self._store.write() as transaction:
            node = find_node(self._store.nodes(), id_or_name)
            _refuse_replacing(node)
            join, text = new_join(node.ref.id, self.clock.now())
            transaction.nodes.put_join(join)
            transaction.record(Entry("node.replacing", str(node.ref.id), after={"name": node.ref.name}))
        return node, join, text

    def join(self, token: str, joining: Callable[[NodeRecord], NodeRecord]) -> tuple[NodeRecord, str] | None:
        """Let an agent be the node for which a token was made; return the node and the agent's own token, once.

        None for a token that is unknown, was used or has expired. The latter two are recorded; a token that never was
        one is not even looked at by a writer, as anybody may send such.
        """
        joined = None
        if not self._store.knows_join(digest_of(token)):
            return None
        with self._store.write() as transaction:
            node_id = transaction.nodes.take_join(digest_of(token), self.clock.now())
            if node_id is not None:
                digest, text = new_node_token(node_id)
                was = find_node(self._store.nodes(), str(node_id))
                state = NodeState.DRAINED if was.state is NodeState.DRAINED else NodeState.UP
                now = replace(
                    joining(was), state=state, token_digest=digest, token_since=self.clock.now(), next_digest=""
                )
                transaction.nodes.put(now)
                transaction.record(Entry("node.joined", str(node_id), after=_facts(now)))
                joined = now, text
        if joined is None:
            self.refusals.note(digest_of(token), Entry("node.joined"), "The token was used before or has expired.")
            return None
        self.board.forget(joined[0].ref)
        _log.info("node %s has joined", joined[0].ref.name)
        return joined

    def identify(self, candidate: str) -> NodeRecord | None:
        """Return the node whose agent has this token; None when there is none, or it was given up."""
        node_id = id_of_node(candidate)
        for record in self._store.nodes():
            if record.ref.id == node_id and record.state is not NodeState.LOST:
                if is_digest_of(record.token_digest, candidate):
                    return record
                if is_digest_of(record.next_digest, candidate):
                    return record.with_next_token(self.clock.now())
        return None

    def is_old(self, node: NodeRecord) -> bool:
        """Return whether the agent should have another token."""
        return node.token_since is None or self.clock.now() - node.token_since >= RENEW_AFTER

    def renew(self, node: NodeRecord) -> str:
        """Make the next token of the agent that asks, in place of one that it has not used. Raises ReportRefused."""
        with self._store.write() as transaction:
            present = take_token(transaction, self._store.nodes(), node)
            digest, text = new_node_token(present.ref.id)
            transaction.nodes.put(replace(present, next_digest=digest))
            transaction.record(Entry("node.token_renewed", str(present.ref.id), after={"name": present.ref.name}))
        return text

    def _refuse_taken(self, node: NodeRecord) -> None:
        if any(one.ref.name == node.ref.name and one.ref.id != node.ref.id for one in self._store.nodes()):
            raise AlreadyTaken(f"name: another node is called {node.ref.name}; choose another name.")


def _refuse_replacing(node: NodeRecord) -> None:
    if node.ref.id == LOCAL.id:
        msg = "The built-in node is this server itself: restore a backup of it on the new machine."
        raise InvalidChoice(msg)
    if node.public_key and not node.private_key:
        msg = (
            f"Node {node.ref.name} joined with a version that kept its key pair to itself: copy its data directory to "
            "the new machine, or move its keys."
        )
        raise InvalidChoice(msg)


def _refuse_use(node: NodeRecord, keys: Sized, stops: Iterable[Stop]) -> None:
    """Raise NodeNotEmpty for a node on which customers may still get in, unless it is given up."""
    if node.state is NodeState.LOST:
        return
    if keys:
        msg = f"Node {node.ref.name} has {len(keys)} keys: move or delete them first, or say that the node is lost."
        raise NodeNotEmpty(msg)
    if any(not stop.is_confirmed for stop in stops):
        msg = f"Node {node.ref.name} has not confirmed yet that its keys have stopped; wait, or say that it is lost."
        raise NodeNotEmpty(msg)


def _refuse_change(was: NodeRecord, now: NodeRecord) -> None:
    if was.ref.id == LOCAL.id and (now.ref != was.ref or now.address or now.state is NodeState.LOST):
        msg = (
            "The built-in node keeps its name, has the address of the settings (VPNKEYS_SERVER_ADDRESS), and is not "
            "lost while this server answers."
        )
        raise InvalidChoice(msg)
    if was.state is NodeState.JOINING and now.state is not NodeState.JOINING:
        raise InvalidChoice(f"state: node {was.ref.name} has not joined yet; start its agent, or delete the node.")


def _facts(node: NodeRecord) -> dict[str, object]:
    return {
        "name": node.ref.name,
        "group": node.group,
        "address": node.address,
        "port_range": _text_of(node.ports),
        "max_keys": node.max_keys,
        "weight": node.weight,
        "state": node.state.value,
        "public_key": node.public_key,
    }


def _text_of(ports: PortRange | None) -> str | None:
    return None if ports is None else str(ports)
