"""Bring config.json and the running Xray to what the database says."""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from vpnkeys.domain.errors import (
    ConfigRefused,
    ConfigUnwritable,
    SpeedLimitImpossible,
    StoreUnavailable,
    Unavailable,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.event import event_of_drift
from vpnkeys.domain.inbound import Inbound, ServerIdentity, desired_inbounds
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan, plan
from vpnkeys.interfaces import Host, Node, Store
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.service.change.rows import take_back_intents
from vpnkeys.service.change.stops import PendingStops
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 300.0
_JOB = Job(
    name="repairer",
    failing="not all is repaired",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(1.0,),
    back_offs_s={
        Unavailable: (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0),
        # One inbound, most likely, whose port another program took: all the rest was done and works.
        XrayRefused: (5.0,),
    },
    late_after_s=30.0,
    expected=(Unavailable,),
    quiet_s=1.0,  # nothing is said while Xray is just starting
)


@dataclass(slots=True)
class Reconciler:
    """Compares, repairs, and lets one change at a time at Xray.

    `changing` is held by whoever changes the database together with Xray, so that a repair never sees one without the
    other and takes a key that is just being made for drift.
    """

    store: Store
    node: Node
    host: Host
    site: ServerIdentity
    on_repaired: Callable[[], None] = lambda: None
    look_every_s: float = _LOOK_EVERY_S
    worker: Worker = field(init=False)
    changing: threading.RLock = field(default_factory=threading.RLock, init=False)
    _is_asked: bool = field(default=False, init=False)
    _late_calls: LateCalls = field(default_factory=LateCalls, init=False)
    _is_half_done: bool = field(default=False, init=False)  # what differs may be what is left of a change of ours
    _told: Plan = field(default=Plan(), init=False)
    stops: PendingStops = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is repaired in the background before the worker starts."""
        self.stops = PendingStops(self.store)
        job = replace(_JOB, every_s=self.look_every_s, first_after_s=self.look_every_s)
        self.worker = Worker(job, self._repair)

    def desired(self, keys: Iterable[Key]) -> tuple[Inbound, ...]:
        """What should be for these keys."""
        return desired_inbounds(keys, self.site)

    def compare(self) -> tuple[Observed, Plan]:
        """What is, and what would have to be done; nothing is changed."""
        with self.changing:
            observed = self.node.observe()
            return observed, plan(self.desired(self.stops.keys()), observed)

    def reconcile(self) -> Plan:
        """Repair whatever differs; what was done.

        Raises what `Node.apply` raises, and XrayUnavailable, with config.json repaired, while Xray does not answer.
        """
        with self.changing:
            self._take_back_what_is_left()
            observed, todo = self.compare()
            self._limit_speeds_as_far_as_possible(self.stops.keys())  # before customers come back
            if todo:
                file = "rewritten" if todo.file is not None else "right"
                _log.info("drift: config.json is %s, %d inbounds go, %d come", file, len(todo.remove), len(todo.add))
                if todo != self._told:  # not again at each try to repair it
                    self.tell_of_drift(todo)
                    self._told = todo
                self._apply_as_far_as_possible(todo)
            self._hear(observed, as_expected=not todo)
            if observed.running is None:
                msg = "Xray does not answer on its API; config.json is right, and Xray is repaired when it answers."
                raise XrayUnavailable(msg)
            self._is_half_done, self._told = False, Plan()
            self._finish_stops()
            if self.stops.are_unwritten:
                with self.store.write() as transaction:
                    self.stops.write(transaction)
                self.stops.have_been_written()
            return todo

    def apply(self, todo: Plan) -> None:
        """Let the node carry a plan out, and remember when it does not answer. Raises what `Node.apply` raises."""
        if not todo:
            return
        try:
            self.node.apply(todo)
        except XrayUnavailable:
            self._late_calls.timed_out()
            raise

    def _apply_as_far_as_possible(self, todo: Plan) -> None:
        """The running Xray is repaired also while config.json cannot be; the error comes all the same."""
        try:
            self.apply(todo)
        except (ConfigUnwritable, ConfigRefused):
            self.apply(replace(todo, file=None))
            raise

    def is_quiet(self) -> bool:
        """Return whether no call of ours that timed out can still be carried out by the running Xray."""
        if not self._late_calls.are_over():
            self._hear(self.node.observe(), as_expected=True)  # as far as this looks
        return self._late_calls.are_over()

    def _hear(self, observed: Observed, *, as_expected: bool) -> None:
        if observed.running is None:
            self._late_calls.timed_out()
        else:
            self._late_calls.heard(observed.running.epoch, as_expected=as_expected)

    def _take_back_what_is_left(self) -> None:
        """Take back starts that nobody is waiting for any more: the service died over them."""
        if self.store.intents():
            with self.store.write() as transaction:
                take_back_intents(transaction)

    def _finish_stops(self) -> None:
        """Cut what is open of keys that have to stop, and write down which have stopped for sure.

        Their inbounds are gone by now, perhaps by a call of ours that was carried out late, which cut nothing.
        """
        pending = self.stops.unconfirmed()
        if not pending:
            return
        serving = {key.id for key in self.stops.keys() if key.serves}  # noqa: SIM118 - not a dict
        self.apply(Plan(cut=tuple(stop.port for stop in pending if stop.key_id not in serving)))
        if self._late_calls.are_over():
            with suppress(StoreUnavailable), self.store.write(durable=False) as transaction:  # else the next time
                transaction.put_stops(replace(stop, is_confirmed=True) for stop in pending)

    def tell_of_drift(self, todo: Plan) -> None:
        """Let webhooks be told what is about to be repaired, unless it is what is left of a change of ours.

        A database that does not answer must not keep the repair waiting.
        """
        if not todo or self._is_half_done:
            return
        event = event_of_drift(file_rewritten=todo.file is not None, removed=len(todo.remove), added=len(todo.add))
        try:
            with self.store.write() as transaction:
                transaction.add_event(event)
        except StoreUnavailable as error:
            _log.warning("nobody is told of the drift: %s", error)

    def follow_speeds(self, before: Iterable[Key], after: Iterable[Key]) -> None:
        """Let the speed limits follow a change of keys.

        Raises SpeedLimitImpossible where somebody asks for a limit. Whatever else is done to keys must not fail for
        limits that this host does not keep (any more): switching off, deleting, moving.
        """
        before, after = tuple(before), tuple(after)
        if _speeds(before) == _speeds(after):
            return
        had = {key.id: key.limits.speed_mbps for key in before}
        if any(key.limits.speed_mbps not in {None, had.get(key.id)} for key in after):
            self.host.limit_speeds(_speeds(after))
        else:
            self._limit_speeds_as_far_as_possible(after)

    def _limit_speeds_as_far_as_possible(self, keys: Iterable[Key]) -> None:
        try:
            self.host.limit_speeds(_speeds(keys))
        except SpeedLimitImpossible as error:
            _log.error("speed limits are not in force: %s", error)

    def expect_drift(self) -> None:
        """What differs from now on until the next repair is of our own making: no webhook is told of it."""
        self._is_half_done = True

    def repair_soon(self) -> None:
        """Ask for a repair in the background, repeated until it works."""
        self._is_asked = True
        self.worker.wake()

    def _repair(self) -> float | None:
        """Repair what differs, and tell when something did or somebody had asked; return when to look next."""
        is_asked, self._is_asked = self._is_asked, False
        try:
            done = self.reconcile()
        except XrayRefused:
            self._is_asked = True
            self.on_repaired()
            raise
        except BaseException:
            self._is_asked = True
            raise
        if is_asked or done:
            self.on_repaired()
        return self._late_calls.look_again_in()


def _speeds(keys: Iterable[Key]) -> dict[int, int]:
    """The speed limits in Mbit/s by port, also of keys that do not work now: their ports are still theirs."""
    return {key.port: key.limits.speed_mbps for key in keys if key.limits.speed_mbps is not None}
