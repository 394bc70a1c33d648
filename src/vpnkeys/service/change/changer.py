"""Carries out every change of keys, be it for a request, for a limit that is reached or for ports assigned again.

A stop is committed before the node is asked: from then on the key stays stopped, whatever the node does. A start is all
or nothing: its key is visible only once the node has it, and a start that fails leaves nothing behind. The reasons are
in docs/adr/0016-one-road.md.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random, SystemRandom
from typing import Final

from vpnkeys.domain.actor import SERVER, current_actor
from vpnkeys.domain.audit import entries_of
from vpnkeys.domain.change import KeyChanges, Snapshot, Stages
from vpnkeys.domain.errors import (
    CommitUnknown,
    ConfigRefused,
    ConfigUnwritable,
    KeysChangedMeanwhile,
    NotWritten,
    PortTaken,
    Rejected,
    ServerEnding,
    StopPending,
    StoreUnavailable,
    VpnKeysError,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.plan import Plan, transition
from vpnkeys.domain.traffic import Samples
from vpnkeys.interfaces import BRIEFLY_S, Clock, Transaction
from vpnkeys.service.change.at_doors import repeated, tags_of
from vpnkeys.service.change.storage import require_place, take_back_intents, tried_again, undone, write_keys
from vpnkeys.service.reconcile import Reconciler

_DECISIONS: Final = 5
"""How often a decision is made while another server of the host claims its ports first."""

_PATIENCE_S = 2.0
"""Less than other writers have: keys whose limits are reached wait for `changing` meanwhile, and have to stop."""

_GIVE_UP_AFTER_S = 6.0
"""Two seconds before unanswered requests are cancelled (`server/ending.py`), so that a late commit is answered yet."""

_MESSAGE = "The server is ending or restarting, and nothing was changed. Send the same request again in some seconds."


@dataclass(slots=True)
class Ending:
    """Refuses changes while the server ends, so that each is answered as it was carried out."""

    clock: Callable[[], float] = time.monotonic
    _began_at: float | None = field(default=None, init=False)

    def begin(self) -> None:
        """Note that the server ends from now on."""
        self._began_at = self._began_at or self.clock()

    def refuse_new(self) -> None:
        """Raise ServerEnding for a change that has not begun, but for the server's own, such as limits."""
        if self._began_at is not None and current_actor() != SERVER:
            raise ServerEnding(_MESSAGE)

    def refuse_late(self) -> None:
        """Raise ServerEnding for a start whose answer would come too late."""
        if self._began_at is not None and self.clock() - self._began_at >= _GIVE_UP_AFTER_S:
            raise ServerEnding(_MESSAGE)


@dataclass(frozen=True, slots=True)
class KeyChanger:
    """Changes keys in the database, in config.json and in the running Xray, one change at a time."""

    reconciler: Reconciler
    clock: Clock
    chance: Random = field(default_factory=SystemRandom)
    used_bytes: Callable[[Mapping[str, datetime | None], Iterable[Samples]], Mapping[str, int]] | None = None
    ending: Ending = field(default_factory=Ending)

    def change(self, decide: Callable[[Snapshot], KeyChanges], *, patience_s: float = _PATIENCE_S) -> KeyChanges:
        """Let `decide` decide on the keys as they are now, carry that out, and return it.

        The steps: decide, commit stops and intents to start, let the node stop, let it start, commit the starts. Each
        commit waits `patience_s` for other writers. Where several servers share a database, another one may change the
        keys at the same moment; then all steps begin again.
        Raises what `decide` raises and SpeedLimitImpossible before anything is changed; StopPending and NotWritten when
        keys are stopped and the node or the disk lags behind; another Unavailable when all starts were taken back.
        """
        within_s = patience_s if self.reconciler.store.is_remote else 0.0
        return tried_again(lambda: self._change(decide, patience_s), within_s, self.chance)

    def _change(self, decide: Callable[[Snapshot], KeyChanges], patience_s: float) -> KeyChanges:
        with self.reconciler.changing:
            self.ending.refuse_new()
            snapshot = self.snapshot()
            changes, stages = self._decided(snapshot, decide)
            try:
                # Before the first commit, because it can refuse, and before a start, so that no key lacks its limit.
                self.reconciler.follow_speeds(stages.before, stages.after, stages.named)
                self._write_stops_and_intents(snapshot, stages, patience_s)
                # Outside of any transaction: a node may answer late or never, and would block all writers meanwhile.
                self._stop(stages)
                self._start(stages)
                self._write_starts(stages, patience_s)
                if stages.left:
                    self.reconciler.taken.release(stages.left)
            except BaseException as error:  # an interrupt between two steps must be repaired too
                self._take_back(stages, error)
                raise
            return changes

    def _decided(self, snapshot: Snapshot, decide: Callable[[Snapshot], KeyChanges]) -> tuple[KeyChanges, Stages]:
        """Return a decision whose ports no other server of the host has. Raises PortTaken, and what `decide` raises.

        Another server may claim a port between the decision and our claim; then the decision is made once more.
        """
        lost: frozenset[int] = frozenset()
        for _ in range(_DECISIONS):
            changes = decide(snapshot)
            stages = Stages.of(snapshot, changes)
            lost = self.reconciler.host.claim_ports(stages.ports)
            if not lost:
                return changes, stages
            self._give_back(stages)
        msg = (
            f"Another vpnkeys server on this host has port {min(lost)} for a key of its own. Give the servers port "
            "ranges of their own (VPNKEYS_PORT_RANGE), or move the key: `vpnkeys keys set ID --port 0`."
        )
        raise PortTaken(msg)

    def _give_back(self, stages: Stages) -> None:
        """Let other servers of the host have the ports that only a change needs which is not carried out."""
        self.reconciler.host.release_ports(stages.ports - {key.port for key in stages.before})

    def snapshot(self, fresh: Iterable[Samples] = ()) -> Snapshot:
        """Return what a decision may use: keys, intents, stops, time and free ports of now. Raises StoreUnavailable.

        The counters in `fresh` count as used, although they are not merged yet.
        """
        used_bytes = self.used_bytes or self.reconciler.store.used_bytes
        keys, intents, stops = self.reconciler.stops.known()
        # Those that are left out too; from memory, as stops must hold while the database is silent.
        doors = {door.port for door in self.reconciler.site.doors} | self.reconciler.closed_doors.ports.keys()
        return Snapshot(
            keys=keys.on(LOCAL.id),
            intents=intents,
            stops=tuple(stop for stop in stops if stop.node_id == LOCAL.id),
            now=self.clock.now(),
            used_bytes=lambda since: used_bytes(since, fresh),
            is_free=lambda port: port not in doors and self.reconciler.host.is_free(port),
            chance=self.chance,
            everywhere=keys,
        )

    def _write_stops_and_intents(self, snapshot: Snapshot, stages: Stages, patience_s: float) -> None:
        """Commit the stops for good and the starts as intents. Raises StoreUnavailable, or NotWritten when stops hold.

        A commit of intents alone does not wait for the disk: a power cut that loses it ends Xray too, and the next
        start puts config.json right.
        """
        stops = self.reconciler.stops
        durable = bool(stages.first) or stops.are_unwritten
        if not (durable or stages.intents):
            return
        try:
            with self.reconciler.store.write(durable=durable, patience_s=patience_s) as transaction:
                stops.write(transaction)
                # Under the write lock, because `changing` keeps out the threads of this process and no other process.
                _require_unchanged(transaction, snapshot)
                _require_no_other_server(transaction)
                take_back_intents(transaction)
                transaction.drop_stops(snapshot.old_stops)
                write_keys(transaction, stages.first)
                transaction.put_stops(stages.stops)
                transaction.put_intents(stages.intents)
        except StoreUnavailable as error:
            # A repeated stop changes nothing more; another change of a stopped key is refused, and must not be kept.
            if stages.stops or (stages.unconfirmed and not stages.first.update):
                self._stop_unwritten(stages, error)
            raise
        stops.have_been_written()

    def _stop_unwritten(self, stages: Stages, error: StoreUnavailable) -> None:
        """Stop keys in the node though the database cannot store it, as with a full disk. Raises NotWritten."""
        self.reconciler.stops.keep(stages.first, stages.stops)
        known = "The keys have stopped in the running Xray"
        try:
            self._stop(stages)
        except NotWritten:
            pass
        except StopPending:
            known = "Xray has not confirmed the stop yet, and the keys stop as soon as it answers"
        # Not the error's own words: they end with "nothing was changed".
        msg = (
            f"{known}. The database does not take the stop, which holds {self.reconciler.stops.holds} and is stored as "
            "soon as there is space and no other program has the database locked: /health says what is wrong."
        )
        raise NotWritten(msg) from error

    def _stop(self, stages: Stages) -> None:
        """Let the node stop keys. Raises StopPending; NotWritten when only config.json did not follow."""
        plan = self._plan_of_stops(stages)
        try:
            try:
                self.reconciler.apply(plan)
            except (ConfigUnwritable, ConfigRefused) as error:
                # The running Xray does not read the file: keys can stop without it, and must.
                self.reconciler.apply(replace(plan, file=None))
                msg = f"The keys have stopped in the running Xray, but not in config.json yet: {error}"
                raise NotWritten(msg) from error
        except (XrayUnavailable, XrayRefused) as error:
            raise _pending(str(error)) from error
        late_calls = self.reconciler.late_calls
        tags = tags_of(stages.stops, self.reconciler.site.doors) if stages.stops else []
        waits = stages.unconfirmed or (tags and late_calls.may_add(tags))
        if waits and not self.reconciler.is_quiet():
            raise _pending("Xray may still carry out an earlier call, which would start a key again.")

    def _plan_of_stops(self, stages: Stages) -> Plan:
        """Return the plan that stops keys which work now, and repeats earlier stops that the node has not confirmed."""
        plan = self._plan(stages.before, stages.stopped, stages)
        if not stages.unconfirmed:
            return plan
        plan = replace(plan, file=self.reconciler.desired(stages.stopped))
        return repeated(plan, stages.unconfirmed, stages.stopped, self.reconciler.site)

    def _start(self, stages: Stages) -> None:
        """Let the node start keys; when this returns, their links work. Raises what `Node.apply` raises."""
        self.reconciler.apply(self._plan(stages.stopped, stages.after, stages))

    def _plan(self, before: Keys, after: Keys, stages: Stages) -> Plan:
        return Plan() if before is after else transition(before, after, stages.named, self.reconciler.site)

    def _write_starts(self, stages: Stages, patience_s: float) -> None:
        """Commit the intents as keys, and forget the stops that this answer confirms to the client."""
        self.reconciler.stops.forget(stages.answered)
        if not stages.last:
            return
        self.ending.refuse_late()
        with self.reconciler.store.write(patience_s=patience_s) as transaction:
            transaction.drop_intents()
            require_place(transaction, stages.last.update)
            write_keys(transaction, stages.last)

    def _take_back(self, stages: Stages, error: BaseException) -> None:
        """Turn the intents into stops and start a repair of the node; stops that were committed stay."""
        if isinstance(error, Rejected):
            self._give_back(stages)
            return  # nothing was changed yet
        self.reconciler.expect_drift()
        self.reconciler.repair_soon()
        if isinstance(error, CommitUnknown) and stages.last:
            # In force from now on, and stored as soon as the database answers.
            self.reconciler.stops.keep(*undone(stages))
            return
        # An unexpected error leaves its intents to that repair, which takes them back as well.
        if not (stages.last and isinstance(error, VpnKeysError)):
            return
        with suppress(StoreUnavailable), self.reconciler.store.write(patience_s=BRIEFLY_S) as transaction:
            take_back_intents(transaction)
            # What the server does by itself it repeats each second, which would fill the log.
            if current_actor() != SERVER:
                transaction.record_taken_back(entries_of(stages.stopped, stages.last), str(error))


def _require_unchanged(transaction: Transaction, snapshot: Snapshot) -> None:
    if Keys.of(transaction.keys()).on(LOCAL.id) != snapshot.keys:
        msg = "Another process changed the keys at the same moment. Nothing was changed; try again."
        raise KeysChangedMeanwhile(msg)


def _require_no_other_server(transaction: Transaction) -> None:
    if len(transaction.intents()) > len(transaction.own_intents()):
        msg = "Another server changes keys at this moment. Nothing was changed; try again."
        raise KeysChangedMeanwhile(msg)


def _pending(why: str) -> StopPending:
    msg = (
        f"{why} The stop is stored, and the key stops as soon as Xray answers. Send the same request again in a few "
        "seconds, which is safe, to see whether it has."
    )
    return StopPending(msg)
