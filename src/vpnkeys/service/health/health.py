"""Reports whether the server works, without anything secret."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

from vpnkeys.domain.errors import DatabaseMoved, Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.service.health.bounded import Bounded
from vpnkeys.service.health.checks import (
    ConfigFacts,
    ConnectionFacts,
    closed_doors,
    dead_targets,
    in_config,
    late_workers,
    of_connections,
    on_host,
)
from vpnkeys.service.health.codes import Code
from vpnkeys.service.health.questions import Questions
from vpnkeys.service.health.recent import Recent
from vpnkeys.service.health.since import Problem, Since
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.worker import Job, Worker, WorkerStatus

Overall = Literal["healthy", "degraded", "unhealthy"]

_JOB = Job(
    name="health-watch",
    failing="the health of the server could not be determined",
    every_s=2.0,
    back_off_s=(2.0,),
    late_after_s=10.0,
    stop_within_s=0.5,
)

_OWN_DNS = "names that change their answer lead inside, as config.json has a dns section of your own"
_OFTEN = 3  # once is a mistake, twice may be a coincidence


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Holds what `/health` answers. It is readable without authentication, so nothing in it is secret.

    Unhealthy: no customer can get in, or the API cannot do its work. Degraded: something is missing that customers or
    operators may notice; `problems` says what.
    """

    status: Overall
    problems: tuple[Problem, ...]
    xray: Literal["running", "down", "absent"]
    database: Literal["ok", "down"]
    connection_cut: Literal["available", "unavailable"]
    udp_full_cone: Literal["available", "unavailable"]
    server_names_ready: int
    uptime_s: int


@dataclass(slots=True)
class Health:
    """Puts together what is known of the server's parts each time a report is asked for, and every two seconds.

    `can_cut` says whether open connections of removed keys can be ended; `full_cone` whether the kernel filters each
    packet of customers, so that one UDP session may reach many peers. Without it UDP works with one peer a session, and
    names are resolved by Xray's own `dns` section, unless the operator has one. Without `has_node` no Xray is here, and
    nothing of it is missing.
    """

    reconciler: Reconciler
    statuses: Callable[[], tuple[WorkerStatus, ...]]
    questions: Questions
    can_cut: bool
    full_cone: bool
    config: Callable[[], ConfigFacts] = ConfigFacts
    connections: Callable[[], ConnectionFacts] = ConnectionFacts
    has_node: bool = True
    silent_nodes: Callable[[], Collection[int]] = tuple
    since: Since = field(default_factory=Since)
    drifts: Recent = field(default_factory=Recent)
    worker: Worker = field(init=False)
    _read: Callable[[], tuple[tuple[Key, ...], bool]] = field(init=False)
    _started_at: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        """Make the worker, by which problems have the right `since` also when nobody asks."""
        self.worker = Worker(_JOB, self._watch)
        is_remote = self.reconciler.store.is_remote
        self._read = Bounded(self._keys_and_pending).result if is_remote else self._keys_and_pending

    def report(self) -> HealthReport:
        """Return the state at this moment."""
        node = self.reconciler.node
        names = len(node.ready_names())
        found = dict(self._found(names))
        problems = self.since.problems(found)
        is_unhealthy = any(problem.is_unhealthy for problem in problems)
        return HealthReport(
            status="unhealthy" if is_unhealthy else "degraded" if problems else "healthy",
            problems=problems,
            xray="down" if Code.XRAY_NOT_ANSWERING in found else "running" if self.has_node else "absent",
            database="down" if Code.DATABASE_UNREADABLE in found else "ok",
            connection_cut="available" if self.can_cut and self.has_node else "unavailable",
            udp_full_cone="available" if self.full_cone and self.has_node else "unavailable",
            server_names_ready=names,
            uptime_s=int(time.monotonic() - self._started_at),
        )

    def codes(self) -> tuple[str, ...]:
        """Return the codes of the problems of this moment."""
        return tuple(problem.code for problem in self.report().problems)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that find problems out."""
        return (*self.questions.workers, self.worker)

    def _watch(self) -> None:
        self.report()

    def _found(self, names: int) -> Iterator[tuple[Code, str]]:
        if self.has_node and not self.reconciler.node.is_up():
            yield Code.XRAY_NOT_ANSWERING, ""
        if self.has_node and not names:
            yield Code.NO_SERVER_NAME, ""
        if not self.can_cut:
            yield Code.CONNECTIONS_NOT_CUT, ""
        if not self.full_cone:
            yield Code.GUARD_NOT_KEPT, _OWN_DNS if self.config().has_own_dns else ""
        if self.reconciler.stops.are_unwritten:
            yield Code.STOPS_UNWRITTEN, ""
        if (times := self.drifts.times(self.reconciler.drifts)) >= _OFTEN:
            yield Code.DRIFT_RETURNS, f"{times} times within an hour"
        if silent := self.silent_nodes():
            yield Code.NODE_SILENT, f"{len(silent)} node(s)"
        yield from late_workers(self.statuses())
        yield from on_host(self.questions.host)
        yield from of_connections(self.connections())
        yield from in_config(self.config())
        yield from self._in_database()

    def _in_database(self) -> Iterator[tuple[Code, str]]:
        taken = self.reconciler.taken.all
        doors, closed = {door.port for door in self.reconciler.site.doors}, self.reconciler.closed_doors.ports
        yield from closed_doors(taken & doors, closed)
        taken -= doors | closed.keys()
        try:
            keys, has_pending = self._read()
        except DatabaseMoved:
            yield Code.DATABASE_UNREADABLE, "it was moved; VPNKEYS_DATABASE_URL has to name the new one"
        except (Unavailable, TimeoutError):
            yield Code.DATABASE_UNREADABLE, ""
        else:
            # Xray binds with SO_REUSEPORT, so that an inbound of the operator's listens on the port of a key too: the
            # kernel shares connections out, and the key's customers get in by chance.
            taken |= self.config().reserved_ports & {key.port for key in keys}
            if refusal := self.reconciler.store.refusal():
                yield Code.DATABASE_UNWRITABLE, refusal
            if has_pending:
                yield Code.STOPS_PENDING, ""
            yield from dead_targets(keys, self.reconciler.node.targets_seen(), self._dead_doors())
        if taken:
            yield Code.PORT_TAKEN, f"{len(taken)} key(s)"

    def _dead_doors(self) -> int:
        """Return how many open doors let nobody in, because their targets are not fit."""
        dead = self.reconciler.closed_doors.targets()
        return sum(door.tag in dead for door in self.reconciler.site.doors)

    def _keys_and_pending(self) -> tuple[tuple[Key, ...], bool]:
        return self.reconciler.stops.own_keys(), bool(self.reconciler.stops.unconfirmed())
