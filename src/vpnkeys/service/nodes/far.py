"""Changes keys of a node elsewhere: in the database here, and by the node's agent there.

A stop is stored before the agent is waited for, so that nothing can lose it. A start is wanted of the agent first, and
stored once it has confirmed it: 200 is never said on hope.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from random import Random, SystemRandom
from typing import Final

from vpnkeys.domain.change import Intent, KeyChanges, Snapshot, Stages
from vpnkeys.domain.errors import (
    CommitUnknown,
    KeysChangedMeanwhile,
    NodeRefused,
    NodeSilent,
    StoreUnavailable,
    TargetsUnready,
)
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.making import Draft, Supply
from vpnkeys.domain.nodes import Confirmed, NodeRecord, NodeState, state_of
from vpnkeys.interfaces import PATIENCE_S, Clock, Store, Transaction
from vpnkeys.service.change.changer import Ending
from vpnkeys.service.change.storage import require_place, tried_again, write_keys
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.conflicts import refuse_known
from vpnkeys.service.nodes.wanted import Wanted

CONFIRMED_WITHIN_S: Final = 3.0
_PORT_TAKEN: Final = "port_taken"
_PATIENCE_S: Final = 1.0
_COMMIT_LOOKS_S: Final = (0.1, 0.3, 0.6)


@dataclass(frozen=True, slots=True)
class FarRoad:
    """Changes the keys of one node, one decision at a time; many may wait for their agents at once."""

    record: NodeRecord
    board: Board
    clock: Clock
    ending: Ending
    chance: Random = field(default_factory=SystemRandom)
    within_s: float = CONFIRMED_WITHIN_S

    @property
    def _store(self) -> Store:
        return self.board.store

    @property
    def _id(self) -> int:
        return self.record.ref.id

    def change(self, decide: Callable[[Snapshot], KeyChanges], *, patience_s: float = PATIENCE_S) -> KeyChanges:
        """Let `decide` decide on the node's keys as they are now, carry that out, and return it.

        Where another process changes the same keys at the same moment, all begins again. Raises what `decide` raises,
        KeysChangedMeanwhile, NodeSilent and NodeRefused; and StoreUnavailable. After NodeSilent stops are stored, and
        in force the moment that the node is back; nothing has started.
        """
        return tried_again(lambda: self._change(decide, patience_s), self.within_s + _PATIENCE_S, self.chance)

    def _change(self, decide: Callable[[Snapshot], KeyChanges], patience_s: float) -> KeyChanges:
        with self.board.deciding:
            self.ending.refuse_new()
            seen = self.snapshot()
            changes = decide(seen)
            # A lost node confirms nothing, and its keys may get more time before they move.
            stages = Stages.of(seen, changes, more_waits=self.record.state is not NodeState.LOST)
            starting = (*stages.last.new, *stages.last.update)
            if stages.last or changes.come:
                self.require_heard()
            before = self.board.wanted(self._id)
            self._write_first(seen, stages, patience_s)
            wanted = self.board.place(self._id, starting, replace(seen, keys=stages.stopped), stages.last.answer)
        try:
            if wanted.mark != before.mark or stages.stops or stages.asked or stages.is_repeat:
                self._refuse_failed(changes, stages, self._confirmed(wanted, starts=bool(stages.last)))
            self._write_last(stages, starting, patience_s)
        finally:
            self.board.withdraw(self._id, starting)
        return changes

    def snapshot(self) -> Snapshot:
        """Return what a decision may use: what of now concerns this node. Raises StoreUnavailable."""
        keys, now, taken = Keys.of(self._store.keys()), self.clock.now(), self.board.taken_ports(self._id)
        return Snapshot(
            keys=keys.on(self._id),
            intents=tuple(Intent.of(key, now) for key in self.board.placing(self._id)),
            stops=tuple(stop for stop in self._store.stops() if stop.node_id == self._id),
            now=now,
            used_bytes=self._store.used_bytes,
            is_free=lambda port: port not in taken,
            chance=self.chance,
            node=self.record.ref,
            everywhere=keys,
        )

    def supply(self, _drafts: Collection[Draft]) -> Supply:
        """Return the server names that work on the node. Raises NodeSilent, TargetsUnready."""
        self.require_heard()
        names = self._names()
        if not names:
            msg = f"No server name works on node {self.record.ref.name} now; its agent's log says why. Try again later."
            raise TargetsUnready(msg)
        return Supply(names, names)

    def working_names(self, but: str) -> Collection[str]:
        """Return the server names that work on the node, without this one. Raises NodeSilent."""
        self.require_heard()
        return {*self._names()} - {but}

    def problem_of_name(self, name: str) -> str:
        """Return why no client gets in by this name on the node; empty when clients do."""
        return "" if name in self._names() else f"it does not work on node {self.record.ref.name} now"

    def _names(self) -> tuple[str, ...]:
        seen = self._store.sightings(self._id).get(self._id)
        return () if seen is None else seen.names

    def require_heard(self) -> None:
        """Raise NodeSilent for a node that cannot confirm a start now."""
        state = state_of(self.record, self._store.sightings(self._id).get(self._id), self.clock.now())
        if state not in {NodeState.UP, NodeState.DRAINED}:
            msg = f"Node {self.record.ref.name} is {state}. Nothing was changed; try again when it is up."
            raise NodeSilent(msg)

    def _write_first(self, seen: Snapshot, stages: Stages, patience_s: float) -> None:
        if not (stages.first or stages.stops):
            return
        with self._store.write(patience_s=patience_s) as transaction:
            if Keys.of(transaction.keys()).on(self._id) != seen.keys:
                msg = "Another process changed the keys at the same moment. Nothing was changed; try again."
                raise KeysChangedMeanwhile(msg)
            refuse_known(transaction, stages.first.answer)
            self._refuse_placed(transaction, stages)
            transaction.drop_stops(seen.old_stops, self._id)
            write_keys(transaction, stages.first)
            transaction.put_stops(stages.stops)

    def _refuse_placed(self, transaction: Transaction, stages: Stages) -> None:
        """Raise KeysChangedMeanwhile when a key is being placed here. A stop does not wait: it takes the placing back.

        One that is moving to another node is compared when it is stored there.
        """
        stopping = {*stages.first.delete, *(stop.key_id for stop in stages.stops)}
        placed = {one.key.id for one in transaction.nodes.placings() if one.key.node.id == self._id}
        gone = placed & stages.first.named
        if gone - stopping:
            msg = "Another change of this key is under way. Nothing was changed; try again."
            raise KeysChangedMeanwhile(msg)
        transaction.nodes.drop_placings(gone)

    def settle(self) -> None:
        """Wait until the node has all that it should have. Raises NodeSilent."""
        self._confirmed(self.board.wanted(self._id), starts=False)

    def _confirmed(self, wanted: Wanted, *, starts: bool) -> Confirmed | None:
        """Return what the node confirms; None for a lost one, which nothing waits for. Raises NodeSilent."""
        if self.record.state is NodeState.LOST:
            return None
        self.board.on_news(self._id)
        found = self.board.wait_for(self._id, wanted, self.within_s)
        if found is not None:
            return found
        fate = (
            "Nothing was changed; try again when it is up."
            if starts
            else "The change is stored, and in force the moment that the node is back. Send the same request again to "
            "see whether it is."
        )
        msg = f"Node {self.record.ref.name} has not confirmed the change. {fate}"
        raise NodeSilent(msg)

    def _refuse_failed(self, changes: KeyChanges, stages: Stages, found: Confirmed | None) -> None:
        """Raise NodeRefused when a key of this change is not as it should be on the node."""
        fate = "Nothing was changed." if stages.last else "The change is stored, and is not in force there."
        codes = {} if found is None else found.failed
        failed = [(key.port, codes[key.id]) for key in (*changes.new, *changes.update) if key.id in codes]
        for port, code in failed:
            if code == _PORT_TAKEN:
                self.board.note_taken(self._id, port)
        for port, code in failed:
            msg = f"Node {self.record.ref.name} cannot have a key on port {port} so ({code}). {fate}"
            raise NodeRefused(msg)

    def _write_last(self, stages: Stages, starting: Collection[Key], patience_s: float) -> None:
        """Store what has started, and forget the stops that this answer confirms to the client."""
        answered = stages.answered
        if not (stages.last or answered):
            return
        try:
            with self._store.write(patience_s=patience_s) as transaction:
                self.board.take(transaction, self._id, starting)
                require_place(transaction, stages.last.update)
                write_keys(transaction, stages.last)
                transaction.drop_stops(answered, self._id)
        except CommitUnknown:
            if not starting or not self._have_come(starting):
                raise  # what is still being placed is taken back
        self.board.have_placed(starting)

    def _have_come(self, starting: Collection[Key]) -> bool:
        """Return whether a commit of which no answer came has stored keys that start; False when nobody can say."""
        for wait_s in _COMMIT_LOOKS_S:
            try:
                known = Keys.of(self._store.keys()).by(ID)
            except StoreUnavailable:
                time.sleep(wait_s)
            else:
                return all(known.get(key.id) == key for key in starting)
        return False
