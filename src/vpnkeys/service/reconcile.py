"""Brings config.json and the running Xray to what the database says."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from vpnkeys.domain.errors import (
    ConfigRefused,
    ConfigUnwritable,
    DoorRefused,
    SpeedLimitImpossible,
    StoreUnavailable,
    Unavailable,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.event import event_of_drift
from vpnkeys.domain.inbound import Inbound, ServerIdentity, desired_inbounds
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.plan import Observed, Plan, plan, speeds_of
from vpnkeys.interfaces import BRIEFLY_S, Host, Node, Store
from vpnkeys.service.change.at_doors import ends_of, finish_closing, with_doors
from vpnkeys.service.change.closed_doors import ClosedDoors
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.service.change.storage import PendingStops, take_back_intents
from vpnkeys.service.change.taken_ports import TakenPorts
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 300.0
_TAKEN_PORT_EVERY_S: Final = 5.0
_JOB = Job(
    name="repairer",
    failing="config.json or Xray could not be repaired completely",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(1.0,),
    back_offs_s={
        Unavailable: (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0),
        # Everything else is repaired, so there is no hurry.
        XrayRefused: (5.0,),
    },
    late_after_s=30.0,
    expected=(Unavailable,),
    quiet_s=1.0,  # an Xray that is starting does not answer for a moment, which is no fault
)


@dataclass(slots=True)
class Reconciler:
    """Compares and repairs, and keeps changes of keys apart by the lock `changing`.

    Code that changes the database together with Xray holds `changing`. Without it, a repair could see one changed and
    the other not yet, and take a key that is just being made for drift. It is reentrant: a use case that holds it
    calls others that take it.
    """

    store: Store
    node: Node
    host: Host
    site: ServerIdentity
    on_repaired: Callable[[], None] = lambda: None
    look_every_s: float = _LOOK_EVERY_S
    late_calls: LateCalls = field(default_factory=LateCalls)
    worker: Worker = field(init=False)
    changing: threading.RLock = field(default_factory=threading.RLock, init=False)
    applied: int = field(default=0, init=False)  # plans so far: tells readers of changes
    drifts: int = field(default=0, init=False)  # found so far, but for those that a change of our own left
    _is_asked: bool = field(default=False, init=False)
    _expects_drift: bool = field(default=False, init=False)
    _announced: Plan = field(default=Plan(), init=False)
    _failed: frozenset[str] = field(default=frozenset(), init=False)
    taken: TakenPorts = field(init=False)
    closed_doors: ClosedDoors = field(default_factory=ClosedDoors, init=False)
    stops: PendingStops = field(init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is repaired in the background before it starts."""
        self.stops = PendingStops(self.store)
        self.taken = TakenPorts(self.host, self.stops)
        job = replace(_JOB, every_s=self.look_every_s, first_after_s=self.look_every_s)
        self.worker = Worker(job, self._repair)

    def desired(self, keys: Iterable[Key]) -> tuple[Inbound, ...]:
        """Return the inbounds that config.json and Xray should have for these keys."""
        return desired_inbounds(keys, self.site)

    def compare(self) -> tuple[Observed, Plan]:
        """Return what is observed, and what would repair it but for what cannot listen now. Raises StoreUnavailable."""
        with self.changing:
            observed = self.node.observe()
            self.site = with_doors(self.site, self.closed_doors.without(self.store.doors(), observed.running))
            todo = plan(self.desired(self.stops.last_keys()), observed)
            return observed, self.taken.leave_out(todo, observed)

    def reconcile(self) -> Plan:
        """Repair whatever differs, and return the plan that was carried out.

        Raises what `Node.apply` raises; XrayUnavailable, with config.json repaired, while Xray does not answer; and
        StoreUnavailable, with the node repaired, when the database does not take what is left of earlier changes.
        """
        with self.changing:
            not_written = self.write_what_is_left()
            todo = self._repair_node()
            if not_written is not None:
                raise not_written
            return todo

    def _repair_node(self) -> Plan:
        self.taken.hold()
        observed, todo = self.compare()
        # Limits first: a key that is let in before its limit is in force carries traffic without one.
        self._limit_speeds_as_far_as_possible(self.stops.last_keys())
        if todo:
            file = "rewritten" if todo.file is not None else "right"
            _log.info(
                "drift: config.json is %s, %d inbounds are removed, %d are added", file, len(todo.remove), len(todo.add)
            )
            if todo != self._announced:  # a repair that fails is repeated, at first after 10 ms
                self.announce_drift(todo)
                self._announced = todo
            try:
                self._apply_as_far_as_possible(todo)
            except (XrayRefused, ConfigUnwritable, ConfigRefused):
                # Such an error may last for days, and stops of other keys must end meanwhile.
                self._note_repair(observed, todo)
                self._finish_stops(observed, is_file_right=todo.file is None)
                self._failed = frozenset(inbound.tag for inbound in todo.add)
                raise
        self._note_repair(observed, todo)
        self._failed = frozenset()
        if observed.running is None:
            msg = "Xray does not answer on its API; config.json is right, and Xray is repaired when it answers."
            raise XrayUnavailable(msg)
        self._expects_drift, self._announced = self.closed_doors.awaits_repair, Plan()
        self._finish_stops(observed)
        finish_closing(self.store, self.apply, is_over=self.late_calls.are_over())
        return todo

    def apply(self, todo: Plan) -> None:
        """Let the node carry out a plan, and note a call that timed out. Raises what `Node.apply` raises."""
        if not (todo := self.taken.spare(todo) if self.taken.ports else todo):
            return
        self.applied += 1  # before the call: one that fails may have changed something too
        try:
            self.node.apply(todo)
            if self.taken.ports:
                self.taken.have_started(todo.add)
        except DoorRefused as error:  # no key waits for a door
            self.closed_doors.refuse(error.tags)
            self.expect_drift()
            self.repair_soon()
        except XrayUnavailable:
            # Asked after the call, so this may be a newer process than the one that was called, but never an older one.
            epoch = ""
            with suppress(XrayUnavailable):
                epoch = self.node.epoch()
            self.late_calls.timed_out(epoch, (inbound.tag for inbound in todo.add))
            raise

    def _apply_as_far_as_possible(self, todo: Plan) -> None:
        """Carry out a plan; where config.json cannot be written, repair the running Xray alone, and raise the error."""
        try:
            self.apply(todo)
        except (ConfigUnwritable, ConfigRefused):
            with suppress(XrayRefused):
                self.apply(replace(todo, file=None))
            raise

    def is_quiet(self) -> bool:
        """Return whether no call of ours that timed out can still be carried out by the running Xray."""
        if not self.late_calls.are_over():  # not compared below: only whether Xray answers counts here
            self._note_answer(self.node.observe(), as_expected=True)
        return self.late_calls.are_over()

    def _note_repair(self, observed: Observed, todo: Plan) -> None:
        """Note whether Xray answered, and whether it ran what was expected.

        An inbound that Xray refused last time is expected to be missing, and no call changes config.json.
        """
        added = {inbound.tag for inbound in todo.add}
        self._note_answer(observed, as_expected=not (todo.remove or todo.cut or added - self._failed))

    def _note_answer(self, observed: Observed, *, as_expected: bool) -> None:
        if observed.running is None:
            self.late_calls.timed_out()
        else:
            self.late_calls.heard(observed.running.epoch, as_expected=as_expected)

    def write_what_is_left(self) -> StoreUnavailable | None:
        """Store stops that are not stored yet, and take back starts that an earlier run of the service began.

        The caller holds `changing`, so no intent in the table can belong to a change that is under way. Return the
        error of a database that does not take it: the node is repaired all the same.
        """
        try:
            if self.stops.are_unwritten or self.store.intents():
                with self.store.write(patience_s=BRIEFLY_S) as transaction:
                    self.stops.write(transaction)
                    take_back_intents(transaction)
                self.stops.have_been_written()
        except StoreUnavailable as error:
            return error
        return None

    def write_stops(self) -> None:
        """Store the stops that are not stored, before this service ends. A database that fails is only logged."""
        with self.changing:
            if self.stops.are_unwritten and (error := self.write_what_is_left()) is not None:
                _log.error("keys are stopped, which holds %s and is not stored: %s", self.stops.holds, error)

    def _finish_stops(self, observed: Observed, *, is_file_right: bool = True) -> None:
        """Cut the connections of keys that have to stop, and store that they have stopped where that is certain.

        Their inbounds are gone by now, perhaps by a call that timed out and was carried out late. Such a call removed
        the inbound without cutting its connections, which Xray keeps open. A key that config.json still holds has not
        stopped: the next start of Xray would start it.
        """
        pending = self.stops.unconfirmed()
        if not pending or observed.running is None:
            return
        self.apply(ends_of(pending, self.stops.last_keys(), self.site.doors))
        if is_file_right and self.late_calls.are_over():
            # Not durable: a lost one is repeated.
            with suppress(StoreUnavailable), self.store.write(durable=False, patience_s=BRIEFLY_S) as transaction:
                transaction.put_stops(replace(stop, is_confirmed=True) for stop in pending)

    def announce_drift(self, todo: Plan) -> None:
        """Notify webhooks of drift that is about to be repaired, unless it is left over from a change of our own.

        A database that does not answer is only logged, so that it does not stop the repair.
        """
        if not todo or self._expects_drift:
            return
        self.drifts += 1
        event = event_of_drift(file_rewritten=todo.file is not None, removed=len(todo.remove), added=len(todo.add))
        try:
            with self.store.write(patience_s=BRIEFLY_S) as transaction:
                transaction.add_event(event)
        except StoreUnavailable as error:
            _log.warning(
                "webhooks are not notified of the drift, because the database did not take the event: %s", error
            )

    def follow_speeds(self, before: Keys, after: Keys, named: Collection[str]) -> None:
        """Bring the kernel's speed limits from those of the keys before a change to those after it.

        Raises SpeedLimitImpossible only when the change adds or alters a limit. Other changes (switching off, deleting,
        moving) must work also on a host that cannot enforce limits, or cannot any more; then the error is logged. Only
        the keys whose ids are in `named` differ.
        """
        was, now = before.among(named), after.among(named)
        if speeds_of(was) == speeds_of(now):
            return
        had = {key.id: key.limits.speed_mbps for key in was}
        if any(key.limits.speed_mbps not in {None, had.get(key.id)} for key in now):
            self.host.limit_speeds(speeds_of(after))
        else:
            self._limit_speeds_as_far_as_possible(after)

    def _limit_speeds_as_far_as_possible(self, keys: Iterable[Key]) -> None:
        try:
            self.host.limit_speeds(speeds_of(keys))
        except SpeedLimitImpossible as error:
            _log.error("speed limits are not in force: %s", error)

    def expect_drift(self) -> None:
        """Note that a change of our own left differences; webhooks are not notified of them until they are repaired."""
        self._expects_drift = True

    def repair_soon(self) -> None:
        """Start a repair in the background, which is repeated until it succeeds."""
        self._is_asked = True
        self.worker.wake()

    def _repair(self) -> float | None:
        """Repair what differs, call `on_repaired` if anything did or a repair was asked for.

        Return after how many seconds to look next, None for the usual interval.
        """
        is_asked, self._is_asked = self._is_asked, False
        try:
            done = self.reconcile()
        except XrayRefused:
            # Xray answers and has all the other inbounds, so that server names can be probed already.
            self._is_asked = True
            self.on_repaired()
            raise
        except BaseException:
            self._is_asked = True
            raise
        if is_asked or done:
            self.on_repaired()
        return self.late_calls.look_again_in() or (_TAKEN_PORT_EVERY_S if self.taken.ports else None)
