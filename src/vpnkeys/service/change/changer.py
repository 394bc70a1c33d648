"""The one road by which keys change: for a request, a limit that strikes, a port that is handed out again.

Stops are intent first: from the commit that stops a key, it stays stopped, whatever the node does. Starts are all or
nothing: nobody sees a key before the node has it, and what the node did not take leaves nothing behind. Why so:
docs/adr/0016-one-road.md.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random, SystemRandom

from vpnkeys.domain.actor import SERVER, current_actor
from vpnkeys.domain.audit import entries_of
from vpnkeys.domain.change import KeyChanges, Snapshot, Stages
from vpnkeys.domain.errors import (
    ConfigRefused,
    ConfigUnwritable,
    KeysChangedMeanwhile,
    NotWritten,
    Rejected,
    StopPending,
    StoreUnavailable,
    VpnKeysError,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Plan, transition
from vpnkeys.interfaces import Clock, Transaction
from vpnkeys.service.change.rows import take_back_intents, write_keys
from vpnkeys.service.reconcile import Reconciler


@dataclass(frozen=True, slots=True)
class KeyChanger:
    """Changes keys in the database, in config.json and in the running Xray, one change at a time."""

    reconciler: Reconciler
    clock: Clock
    chance: Random = field(default_factory=SystemRandom)

    def change(self, decide: Callable[[Snapshot], KeyChanges]) -> KeyChanges:
        """Carry out what is decided on the keys as they are now, and return it when it is true.

        Decide → write stops for good and starts as intents → let the node stop, then start → write the starts.
        Raises what `decide` raises and SpeedLimitImpossible before anything is changed; StopPending and NotWritten when
        keys are stopped and the node or the disk lags behind; another Unavailable when all starts were taken back.
        """
        with self.reconciler.changing:
            snapshot = self.snapshot()
            changes = decide(snapshot)
            stages = Stages.of(snapshot, changes)
            try:
                self.reconciler.follow_speeds(stages.before, stages.after)
                self._write_stops_and_intents(snapshot, stages)
                self._stop(stages)
                self._start(stages)
                self._write_starts(stages)
            except BaseException as error:
                self._take_back(stages, error)
                raise
            return changes

    def snapshot(self) -> Snapshot:
        """Return what a decision may look at now. Raises StoreUnavailable."""
        store = self.reconciler.store
        return Snapshot(
            keys=self.reconciler.stops.keys(),
            intents=store.intents(),
            stops=self.reconciler.stops.all(),
            now=self.clock.now(),
            used_bytes=store.used_bytes,
            is_free=self.reconciler.host.is_free,
            chance=self.chance,
        )

    def _write_stops_and_intents(self, snapshot: Snapshot, stages: Stages) -> None:
        """Intents alone need not outlive a power cut: without them there is nothing to take back."""
        stops = self.reconciler.stops
        durable = bool(stages.first) or stops.are_unwritten
        if not (durable or stages.intents):
            return
        try:
            with self.reconciler.store.write(durable=durable) as transaction:
                stops.write(transaction)
                _require_unchanged(transaction, snapshot)
                take_back_intents(transaction)
                transaction.drop_stops(snapshot.old_stops)
                write_keys(transaction, stages.first)
                transaction.put_stops(stages.stops)
                transaction.put_intents(stages.intents)
        except StoreUnavailable as error:
            if stages.stops or stages.unconfirmed:
                self._stop_unwritten(stages, error)
            raise
        stops.have_been_written()

    def _stop_unwritten(self, stages: Stages, error: StoreUnavailable) -> None:
        """Stop keys that the database does not take: a full disk keeps nobody from being stopped. Raises NotWritten."""
        self.reconciler.stops.keep(stages.first, stages.stops)
        with suppress(StopPending, NotWritten):
            self._stop(stages)
        msg = f"The stop holds while this server runs, and is written down as soon as the database takes it: {error}"
        raise NotWritten(msg) from error

    def _stop(self, stages: Stages) -> None:
        """Let the node stop keys, and know that it did. The file is not what keeps a customer out of a running Xray."""
        plan = self._plan_of_stops(stages)
        try:
            try:
                self.reconciler.apply(plan)
            except (ConfigUnwritable, ConfigRefused) as error:
                self.reconciler.apply(replace(plan, file=None))
                msg = f"The keys have stopped in the running Xray, but not in config.json yet: {error}"
                raise NotWritten(msg) from error
        except (XrayUnavailable, XrayRefused) as error:
            raise _pending(str(error)) from error
        if stages.unconfirmed and not self.reconciler.is_quiet():
            raise _pending("Xray may still carry out an earlier call.")

    def _plan_of_stops(self, stages: Stages) -> Plan:
        """Return what lets the keys stop that work until now, and those that were to stop before without an answer."""
        plan = self._plan(stages.before, stages.stopped)
        if not stages.unconfirmed:
            return plan
        return replace(
            plan,
            file=self.reconciler.desired(stages.stopped),
            remove=(*plan.remove, *(stop.tag for stop in stages.unconfirmed)),
            cut=(*plan.cut, *(stop.port for stop in stages.unconfirmed)),
        )

    def _start(self, stages: Stages) -> None:
        """Let the node start keys; when this returns, their links work."""
        self.reconciler.apply(self._plan(stages.stopped, stages.after))

    def _plan(self, before: tuple[Key, ...], after: tuple[Key, ...]) -> Plan:
        if before is after:
            return Plan()
        return transition(self.reconciler.desired(before), self.reconciler.desired(after))

    def _write_starts(self, stages: Stages) -> None:
        """Turn intents into keys, and forget the stops whose client is answered now."""
        self.reconciler.stops.forget(stages.answered)
        if not stages.last:
            return
        with self.reconciler.store.write() as transaction:
            transaction.drop_intents()
            write_keys(transaction, stages.last)

    def _take_back(self, stages: Stages, error: BaseException) -> None:
        """Leave nothing of the starts, and have the node repaired; what was written of stops stays."""
        if isinstance(error, Rejected):
            return  # nothing was touched
        self.reconciler.expect_drift()
        self.reconciler.repair_soon()
        if not (stages.last and isinstance(error, VpnKeysError)):
            return
        with suppress(StoreUnavailable), self.reconciler.store.write() as transaction:
            take_back_intents(transaction)
            if current_actor() != SERVER:  # what the server tries by itself, it tries again and again
                transaction.record_taken_back(entries_of(stages.stopped, stages.last), str(error))


def _require_unchanged(transaction: Transaction, snapshot: Snapshot) -> None:
    if transaction.keys() != snapshot.keys:
        msg = "Another process changed the keys at the same moment. Nothing was changed; try again."
        raise KeysChangedMeanwhile(msg)


def _pending(why: str) -> StopPending:
    msg = (
        f"{why} The stop is written down and holds: the key stops the moment Xray answers. Ask again in a few seconds, "
        "which is harmless, to hear that it has."
    )
    return StopPending(msg)
