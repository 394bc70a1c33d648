"""`/health` names each reason why it is not healthy, since when, and nothing secret."""

from dataclasses import dataclass, field, replace

import pytest
from tests.support.memory import World
from tests.support.process import wait_until
from tests.unit.test_doors import DOOR

from vpnkeys.domain.errors import StopPending
from vpnkeys.domain.target import TargetReport
from vpnkeys.service.health.checks import ASK_XRAY, WRITE_DATABASE, ConfigFacts, HostFacts, late_workers, on_host
from vpnkeys.service.health.codes import TROUBLES, Code
from vpnkeys.service.health.health import Health
from vpnkeys.service.health.questions import _ROW, Questions
from vpnkeys.service.health.russian import IN_RUSSIAN
from vpnkeys.service.health.since import Since
from vpnkeys.worker import Job, Worker, WorkerStatus

DAY_S = 86400.0


@dataclass
class Scene:
    """A server whose workers and clocks are in the test's hand."""

    world: World = field(default_factory=World)
    statuses: tuple[WorkerStatus, ...] = ()
    unix_s: float = 1000.9
    monotonic_s: float = 0.0
    can_cut: bool = True
    is_guarded: bool = True

    def __post_init__(self) -> None:
        """Nothing asks in the background."""
        questions = Questions(lambda: None, HostFacts, self.world.store, self.world.clock)
        since = Since(lambda: self.unix_s, lambda: self.monotonic_s)
        self.questions = questions
        self.health = Health(
            self.world.keys.reconciler, lambda: self.statuses, questions, self.can_cut, self.is_guarded, since=since
        )

    def seen(self) -> tuple[str, list[tuple[str, int]]]:
        """The status, and each code with its beginning."""
        report = self.health.report()
        return report.status, [(problem.code, problem.since) for problem in report.problems]

    def passes(self, seconds: float) -> None:
        """Both clocks go on."""
        self.unix_s += seconds
        self.monotonic_s += seconds


def late(name: str) -> WorkerStatus:
    """The status of a worker that fails for long, for a reason that names a path."""
    return WorkerStatus(name, None, 1.0, is_late=True, failing_for_s=60.0, last_error="/var/lib/vpnkeys/secret")


def test_a_healthy_server_has_no_problem() -> None:
    """The list is empty, with a worker that is in time."""
    scene = Scene(statuses=(WorkerStatus("sampler", 1.0, 30.0, is_late=False, failing_for_s=None, last_error=""),))
    scene.world.make()
    assert scene.seen() == ("healthy", [])


def test_an_xray_without_an_answer_is_unhealthy_after_half_a_minute() -> None:
    """Until then it is degraded; `since` stays where it began, and a step of the time of day changes nothing."""
    scene = Scene(statuses=(late(ASK_XRAY),))
    assert scene.seen() == ("degraded", [(Code.XRAY_NOT_ANSWERING, 1000)])
    assert scene.health.report().xray == "down"
    scene.unix_s += 3600
    scene.monotonic_s += 29
    assert scene.seen() == ("degraded", [(Code.XRAY_NOT_ANSWERING, 1000)])
    scene.passes(1)
    assert scene.seen() == ("unhealthy", [(Code.XRAY_NOT_ANSWERING, 1000)])
    scene.statuses = ()
    assert scene.seen() == ("healthy", [])
    scene.statuses = (late(ASK_XRAY),)
    assert scene.seen() == ("degraded", [(Code.XRAY_NOT_ANSWERING, 4601)])


@pytest.mark.parametrize(
    ("worker", "code"),
    [
        (WRITE_DATABASE, Code.DATABASE_UNWRITABLE),
        ("repairer", Code.REPAIR_LATE),
        ("guard-table", Code.GUARD_NOT_KEPT),
        ("speed-table", Code.SPEED_LIMITS_NOT_KEPT),
        ("bounds-table", Code.CONNECTIONS_UNBOUNDED),
        ("daily-backup", Code.BACKUP_LATE),
        ("sampler", Code.WORKER_LATE),
    ],
)
def test_a_worker_that_fails_for_long(worker: str, code: Code) -> None:
    """It is a problem, and its error stays out of the detail: everyone can read it."""
    scene = Scene(statuses=(late(worker),))
    assert scene.seen() == ("degraded", [(code, 1000)])
    (problem,) = scene.health.report().problems
    assert problem.detail.startswith(TROUBLES[code].says)
    assert "secret" not in problem.detail


def test_late_workers_without_a_code_of_their_own_share_one() -> None:
    """The detail names them."""
    assert list(late_workers([late("sampler"), late("enforcer")])) == [(Code.WORKER_LATE, "enforcer, sampler")]


def test_a_question_that_hangs_or_fails_is_late() -> None:
    """A real worker whose step raises is late without any answer."""

    def fails() -> None:
        raise OSError

    worker = Worker(Job("ask", "it fails", every_s=0.01, back_off_s=(0.01,), late_after_s=0.05), fails)
    worker.start()
    try:

        def is_late() -> bool:
            status = worker.status()
            return status is not None and [*late_workers([status])] == [(Code.WORKER_LATE, "ask")]

        assert wait_until(is_late)
    finally:
        worker.stop()


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        (HostFacts(), []),
        (HostFacts(2**30, DAY_S, 15 * DAY_S, 90 * DAY_S), []),
        (HostFacts(free_bytes=2**24 - 1), [Code.DISK_LOW]),
        (HostFacts(free_bytes=0), [Code.DISK_FULL]),
        (HostFacts(is_writable=False), [Code.DISK_READ_ONLY]),
        (
            HostFacts(certificate_expires_in_s=13 * DAY_S, certificate_lifetime_s=90 * DAY_S),
            [Code.CERTIFICATE_EXPIRING],
        ),
        (HostFacts(certificate_expires_in_s=2 * DAY_S, certificate_lifetime_s=6 * DAY_S), []),
        (HostFacts(certificate_expires_in_s=DAY_S, certificate_lifetime_s=6 * DAY_S), [Code.CERTIFICATE_EXPIRING]),
        (HostFacts(certificate_expires_in_s=0, certificate_lifetime_s=6 * DAY_S), [Code.CERTIFICATE_EXPIRED]),
        (
            HostFacts(certificate_expires_in_s=7 * DAY_S, certificate_lifetime_s=6 * DAY_S),
            ["certificate_not_yet_valid"],
        ),
        (HostFacts(address_fault="it is a private one"), [Code.SERVER_ADDRESS]),
        (HostFacts(renewal_fault="the authority does not answer"), [Code.CERTIFICATE_RENEWAL]),
        (HostFacts(backup_age_s=3 * DAY_S), [Code.BACKUP_LATE]),
    ],
)
def test_what_the_disk_says(facts: HostFacts, codes: list[Code]) -> None:
    """Each bound, and nothing where nothing is known."""
    assert [code for code, _ in on_host(facts)] == codes
    scene = Scene()
    scene.questions.host = facts
    assert [code for code, _ in scene.seen()[1]] == codes


def test_a_database_that_cannot_be_read_is_unhealthy() -> None:
    """At once."""
    scene = Scene()
    scene.world.store.memory.answering = False
    assert scene.seen() == ("unhealthy", [(Code.DATABASE_UNREADABLE, 1000)])
    assert scene.health.report().database == "down"


def test_a_change_that_was_not_stored_shows_at_once() -> None:
    """With the reason, until a look has tried out what it needs."""
    scene = Scene()
    scene.world.store.refused = "database is locked"
    assert scene.seen() == ("degraded", [(Code.DATABASE_UNWRITABLE, 1000)])
    assert "database is locked" in scene.health.report().problems[0].detail
    scene.questions.write()
    assert scene.seen() == ("healthy", [])


def test_the_write_is_always_the_same_row() -> None:
    """It is a real write, and the database does not grow by it."""
    scene = Scene()
    before = scene.world.store.writes
    for _ in range(3):
        scene.questions.write()
    assert scene.world.store.writes == before + 3
    assert scene.world.store.answered(_ROW, scene.world.clock.now()) is not None


def test_a_stop_is_a_problem_when_it_stays_pending() -> None:
    """For three seconds it is only under way."""
    scene = Scene()
    key = scene.world.make()
    scene.world.node.answers = False
    with pytest.raises(StopPending):
        scene.world.keys.delete(key.id)
    assert Code.STOPS_PENDING not in dict(scene.seen()[1])
    scene.passes(3)
    assert dict(scene.seen()[1])[Code.STOPS_PENDING] == 1000


def test_a_dead_target_counts_when_a_key_uses_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no key has harms no customer."""
    scene = Scene()
    dead = (TargetReport("a.example", "a.example:443", problems=("no answer",)),)
    monkeypatch.setattr(type(scene.world.node), "targets_seen", lambda _node: dead)
    assert scene.seen() == ("healthy", [])
    scene.world.make()
    assert scene.seen() == ("degraded", [(Code.TARGET_DOWN, 1000)])
    (problem,) = scene.health.report().problems
    assert "a.example" not in problem.detail


def test_connections_that_cannot_be_cut() -> None:
    """It was degraded before; now it says why."""
    assert Scene(can_cut=False).seen() == ("degraded", [(Code.CONNECTIONS_NOT_CUT, 1000)])


def test_a_guard_that_was_impossible_from_the_start() -> None:
    """What is open then is said, like that of one that was lost."""
    scene = Scene(is_guarded=False)
    assert scene.seen() == ("degraded", [(Code.GUARD_NOT_KEPT, 1000)])
    scene.health.config = lambda: ConfigFacts(has_own_dns=True)
    (problem,) = scene.health.report().problems
    assert "dns section of your own" in problem.detail


def test_a_silent_node_is_named_by_nothing_but_its_number() -> None:
    """`/health` is open to all; the rest of the fleet goes on, so the server is degraded and no more."""
    scene = Scene()
    silent: list[int] = []
    scene.health.silent_nodes = lambda: silent
    assert scene.seen() == ("healthy", [])
    silent += [2, 7]
    assert scene.seen() == ("degraded", [(Code.NODE_SILENT, 1000)])
    assert scene.health.report().problems[0].detail.endswith("(2 node(s))")
    scene.passes(86400)
    assert scene.health.report().status == "degraded"
    silent.clear()
    assert scene.seen() == ("healthy", [])


def test_drift_that_comes_back() -> None:
    """The third time within an hour; what our own changes left does not count, and an hour later it is forgotten."""
    scene = Scene()
    scene.health.drifts.monotonic = lambda: scene.monotonic_s
    key, reconciler = scene.world.make(), scene.world.keys.reconciler
    for times in (1, 2, 3):
        assert scene.seen() == ("healthy", [])
        assert scene.world.node.running is not None
        del scene.world.node.running[key.tag]
        if times == 2:
            reconciler.expect_drift()
        reconciler.reconcile()
        scene.passes(60)
    assert scene.seen() == ("healthy", [])
    assert scene.world.node.running is not None
    del scene.world.node.running[key.tag]
    reconciler.reconcile()
    assert scene.seen() == ("degraded", [(Code.DRIFT_RETURNS, 1180)])
    assert scene.health.report().problems[0].detail.endswith("(3 times within an hour)")
    scene.passes(3600 - 120)
    assert scene.seen() == ("healthy", [])


def test_every_code_has_its_words() -> None:
    """One row for each, with a cure."""
    assert set(TROUBLES) == set(Code)
    assert all(trouble.says and trouble.cure for trouble in TROUBLES.values())
    assert set(IN_RUSSIAN) == set(Code)


def test_an_inbound_of_ones_own_on_the_port_of_a_key() -> None:
    """Both listen, and the kernel gives each a part of the connections: more than a port that is reserved."""
    scene = Scene()
    key = scene.world.make()
    scene.health.config = lambda: ConfigFacts(reserved_ports=frozenset({key.port + 1}))
    assert [code for code, _ in scene.seen()[1]] == [Code.PORTS_RESERVED]
    scene.health.config = lambda: ConfigFacts(reserved_ports=frozenset({key.port, key.port + 1}))
    assert [code for code, _ in scene.seen()[1]] == [Code.PORT_TAKEN, Code.PORTS_RESERVED]
    scene.world.store.memory.answering = False
    assert Code.PORT_TAKEN not in dict(scene.seen()[1])


def test_a_door_whose_port_is_taken_is_no_key_on_it() -> None:
    """It is said by itself, with its port."""
    scene = Scene()
    reconciler = scene.health.reconciler
    reconciler.site = replace(reconciler.site, doors=(DOOR,))
    reconciler.taken.ports = frozenset({DOOR.port})
    (problem,) = scene.health.report().problems
    assert (problem.code, f"port {DOOR.port}" in problem.detail) == (Code.DOOR_CLOSED, True)
    reconciler.taken.ports, reconciler.site = frozenset(), replace(reconciler.site, doors=())
    reconciler.closed_doors.ports = {DOOR.port: "Xray refuses it"}
    (problem,) = scene.health.report().problems
    assert (problem.code, f"port {DOOR.port}: Xray refuses it" in problem.detail) == (Code.DOOR_CLOSED, True)


def test_an_open_door_whose_target_is_down_is_said() -> None:
    """Nobody gets in by it, though it listens; a closed one is another problem."""
    scene = Scene()
    reconciler = scene.health.reconciler
    reconciler.closed_doors.targets = lambda: {DOOR.tag: "it does not answer"}
    assert scene.seen() == ("healthy", [])
    reconciler.site = replace(reconciler.site, doors=(DOOR,))
    (problem,) = scene.health.report().problems
    assert (problem.code, "doors: 1" in problem.detail) == (Code.TARGET_DOWN, True)


def test_a_server_without_a_server_name_is_unhealthy_after_half_a_minute() -> None:
    """Nobody gets in then; a control plane without an Xray has no names of its own."""
    scene = Scene()
    scene.world.node.names = frozenset()
    assert scene.seen() == ("degraded", [(Code.NO_SERVER_NAME, 1000)])
    scene.passes(30)
    assert scene.seen() == ("unhealthy", [(Code.NO_SERVER_NAME, 1000)])
    scene.health.has_node = False
    assert scene.seen() == ("healthy", [])
