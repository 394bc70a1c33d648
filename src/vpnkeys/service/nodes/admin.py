"""Makes nodes, changes and removes them, and lets agents join."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.errors import AlreadyTaken, InvalidChoice, NodeNotEmpty
from vpnkeys.domain.event import Kind, event_of_node
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes import (
    LOCAL,
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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeAdmin:
    """Implements the use cases about nodes as such. What an agent may do follows from its token."""

    board: Board
    clock: Clock

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
            if keys and node.state is not NodeState.LOST:
                msg = f"Node {node.ref.name} has {len(keys)} keys: delete them first, or say that the node is lost."
                raise NodeNotEmpty(msg)
            for key in keys:
                transaction.delete(key.id)
            transaction.drop_stops(stop.key_id for stop in self._store.stops() if stop.node_id == node.ref.id)
            transaction.nodes.remove(node.ref.id)
            transaction.record(Entry("node.removed", str(node.ref.id), before=_facts(node)))
        self.board.forget(node.ref)
        return node

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
                now = replace(joining(was), state=NodeState.UP, token_digest=digest)
                transaction.nodes.put(now)
                transaction.record(Entry("node.joined", str(node_id), after=_facts(now)))
                joined = now, text
        if joined is None:
            why = "the token was used before or has expired"
            self._store.record(Entry("node.joined"), Outcome.FAILED, why)
            return None
        self.board.forget(joined[0].ref)
        _log.info("node %s has joined", joined[0].ref.name)
        return joined

    def identify(self, candidate: str) -> NodeRecord | None:
        """Return the node whose agent has this token; None when there is none, or it was given up."""
        node_id = id_of_node(candidate)
        for record in self._store.nodes():
            if record.ref.id == node_id and is_digest_of(record.token_digest, candidate):
                return None if record.state is NodeState.LOST else record
        return None

    def _refuse_taken(self, node: NodeRecord) -> None:
        if any(one.ref.name == node.ref.name and one.ref.id != node.ref.id for one in self._store.nodes()):
            raise AlreadyTaken(f"name: another node is called {node.ref.name}; choose another name.")


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
