"""Bring config.json and the running Xray to what the database says."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from vpnkeys.domain.errors import (
    NotFound,
    Rejected,
    SpeedLimitImpossible,
    StoreUnavailable,
    Unavailable,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.event import news_of_drift
from vpnkeys.domain.inbound import Inbound, ServerIdentity, desired_inbounds
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan, plan, transition
from vpnkeys.interfaces import Node, Store, Transaction
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
    site: ServerIdentity
    on_repaired: Callable[[], None] = lambda: None
    look_every_s: float = _LOOK_EVERY_S
    worker: Worker = field(init=False)
    changing: threading.RLock = field(default_factory=threading.RLock, init=False)
    _is_asked: bool = field(default=False, init=False)
    _in_place: bool = field(default=False, init=False)  # as far as we know, and nobody else's hand was in it
    _is_half_done: bool = field(default=False, init=False)  # what differs may be what is left of a change of ours
    _told: Plan = field(default=Plan(), init=False)

    def __post_init__(self) -> None:
        """Nothing is repaired in the background before the worker starts."""
        job = replace(_JOB, every_s=self.look_every_s, first_after_s=self.look_every_s)
        self.worker = Worker(job, self._repair)

    def desired(self, keys: Iterable[Key]) -> tuple[Inbound, ...]:
        """What should be for these keys."""
        return desired_inbounds(keys, self.site)

    def compare(self) -> tuple[Observed, Plan]:
        """What is, and what would have to be done; nothing is changed."""
        with self.changing:
            observed = self.node.observe()
            return observed, plan(self.desired(self.store.keys()), observed)

    def reconcile(self) -> Plan:
        """Repair whatever differs; what was done.

        Raises what `Node.apply` raises, and XrayUnavailable, with config.json repaired, while Xray does not answer.
        """
        with self.changing:
            observed, todo = self.compare()
            self._limit_speeds_as_far_as_possible(self.store.keys())  # before customers come back
            if todo:
                file = "rewritten" if todo.file is not None else "right"
                _log.info("drift: config.json is %s, %d inbounds go, %d come", file, len(todo.remove), len(todo.add))
                if todo != self._told:  # not again at each try to repair it
                    self.tell_of_drift(todo)
                    self._told = todo
                self.node.apply(todo)
            if observed.running is None:
                msg = "Xray does not answer on its API; config.json is right, and Xray is repaired when it answers."
                raise XrayUnavailable(msg)
            self._in_place, self._is_half_done, self._told = True, False, Plan()
            return todo

    def tell_of_drift(self, todo: Plan) -> None:
        """Let webhooks be told what is about to be repaired, unless it is what is left of a change of ours.

        A database that does not answer must not keep the repair waiting.
        """
        if not todo or self._is_half_done:
            return
        news = news_of_drift(file_rewritten=todo.file is not None, removed=len(todo.remove), added=len(todo.add))
        try:
            with self.store.write() as transaction:
                transaction.tell(news)
        except StoreUnavailable as error:
            _log.warning("nobody is told of the drift: %s", error)

    @contextmanager
    def changing_keys(self) -> Iterator[Transaction]:
        """A write transaction: what it makes of the keys is applied to config.json and Xray before it commits.

        When anything fails, the transaction rolls back, and file and Xray are repaired from what the database says.
        """
        with self.changing, self.or_repair(), self.store.write() as transaction:
            before = transaction.keys()
            yield transaction
            after = transaction.keys()
            self.follow_speeds(before, after)
            todo = transition(self.desired(before), self.desired(after))
            if not self._in_place:
                todo = self._without_strays(todo, before, after)
            if todo:
                self.node.apply(todo)

    def _without_strays(self, todo: Plan, before: Iterable[Key], after: Iterable[Key]) -> Plan:
        """The plan, and an end to inbounds of keys that should have none.

        A change that failed may have left one, and the repair may be still to come: whoever switches a key off or
        deletes it is told the truth all the same.
        """
        running = self.node.observe().running
        if running is None:
            return todo
        tags = {key.tag for key in before} - {inbound.tag for inbound in self.desired(after)} - set(todo.remove)
        strays = [running.inbounds[tag] for tag in sorted(tags & running.inbounds.keys())]
        ports = [inbound.port for inbound in strays if inbound.port is not None]
        return replace(todo, remove=(*todo.remove, *(stray.tag for stray in strays)), cut=(*todo.cut, *ports))

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
            self.node.limit_speeds(_speeds(after))
        else:
            self._limit_speeds_as_far_as_possible(after)

    def _limit_speeds_as_far_as_possible(self, keys: Iterable[Key]) -> None:
        try:
            self.node.limit_speeds(_speeds(keys))
        except SpeedLimitImpossible as error:
            _log.error("speed limits are not in force: %s", error)

    @contextmanager
    def or_repair(self) -> Iterator[None]:
        """When the block fails, put file and Xray back to what the database says, now or as soon as they answer."""
        try:
            yield
        except (NotFound, Rejected):
            raise  # nothing was touched
        except BaseException:
            self._is_half_done = True
            self.repair_soon()
            raise

    def repair_soon(self) -> None:
        """Ask for a repair in the background, repeated until it works."""
        self._in_place = False
        self._is_asked = True
        self.worker.wake()

    def _repair(self) -> None:
        """Repair what differs, and tell when something did or somebody had asked."""
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


def _speeds(keys: Iterable[Key]) -> dict[int, int]:
    """The speed limits in Mbit/s by port, also of keys that do not work now: their ports are still theirs."""
    return {key.port: key.limits.speed_mbps for key in keys if key.limits.speed_mbps is not None}
