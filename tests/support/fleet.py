"""A control plane and a node elsewhere, both in memory, and what they say to each other as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.fakes import FakeNode
from tests.support.memory import SITE, World
from vpnkeys.agent.following import Applied, Follower
from vpnkeys.agent.reporting import Stored, began_here
from vpnkeys.api.convert.agents import desired_answer, report_of
from vpnkeys.domain.nodes import NodeRecord, NodeRef, NodeState
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.change.changer import Ending
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.service.keys import KeyService
from vpnkeys.service.nodes.admin import NodeAdmin
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.elsewhere import Elsewhere
from vpnkeys.service.nodes.far import FarRoad
from vpnkeys.service.nodes.limits import FarLimits
from vpnkeys.service.nodes.refusals import Refusals
from vpnkeys.service.nodes.reports import ReportService
from vpnkeys.wire.agents import Desired, Life, Report, WantedKey

FAR_PORTS = PortRange(20001, 20003)


@dataclass(frozen=True, slots=True)
class ImpatientRoads(Elsewhere):
    """Waits for no agent: in memory it has answered, or never will."""

    def road(self, record: NodeRecord) -> FarRoad:
        """A road without patience."""
        return replace(Elsewhere.road(self, record), within_s=0.0)


@dataclass(slots=True)
class Plane:
    """A control plane whose agents ask and report when a test says so."""

    world: World = field(default_factory=World)
    board: Board = field(init=False)
    admin: NodeAdmin = field(init=False)
    limits: FarLimits = field(init=False)
    reports: ReportService = field(init=False)
    keys: KeyService = field(init=False)

    def __post_init__(self) -> None:
        """Connect its parts."""
        clock, pool = self.world.clock, self.world.keys.pool
        self.board = Board(self.world.store, self.world.waiting.now)
        refusals = Refusals(self.board.store, self.world.waiting.now)
        self.admin = NodeAdmin(self.board, clock, refusals)
        self.limits = FarLimits(self.board, clock)
        self.reports = ReportService(self.board, clock, refusals, self.limits.note_traffic)
        roads = ImpatientRoads(self.board, clock, Ending(), pool, self.world.node.ready_names)
        self.keys = replace(self.world.keys, elsewhere=roads)

    def add(self, name: str, ports: PortRange = FAR_PORTS) -> tuple[NodeRecord, str]:
        """Make a node, which its agent joins; its record and the agent's token."""
        new = NodeRecord(NodeRef(0, name), "default", 1, None, address=f"{name}.example", ports=ports)
        _, _, token = self.admin.add(new)
        joined = self.admin.join(token, lambda record: replace(record, public_key=f"key-of-{name}"))
        assert joined is not None
        return joined


@dataclass(slots=True)
class Agent:
    """The agent of a node: a whole server in memory, which follows a control plane."""

    plane: Plane
    record: NodeRecord
    world: World = field(default_factory=lambda: World(node=FakeNode(names=frozenset(SITE.server_names))))
    applied: Applied = field(default_factory=Applied)
    stored: Stored = field(default_factory=Stored)
    is_silent: bool = False
    ticket: str = "none"
    kept: tuple[WantedKey, ...] = ()

    def __post_init__(self) -> None:
        """No call of an earlier life is feared: its Xray is its child."""
        self.world.keys.reconciler.late_calls = LateCalls(is_child=True)

    def asks(self) -> Desired:
        """What it should have, as it reads it."""
        wanted = self.plane.board.wanted(self.record.ref.id)
        used = self.plane.board.used(wanted.keys, self.plane.world.clock.now())
        return Desired.model_validate_json(desired_answer(wanted, used=used).model_dump_json())

    def follow(self) -> None:
        """Apply what it should have, and say so."""
        if not self.is_silent and self._is_known():
            self.world.keys.reconciler.reconcile()  # as its worker does, when a start has failed
            wanted = self.asks()
            self.kept = wanted.keys
            applied = Follower(self.world.keys, self.world.enforcer.traffic.usage.forget).apply(wanted)
            if applied.rev != self.applied.rev:
                self.world.enforcer.traffic.collect()
            self.applied, self.ticket = applied, applied.ticket
            self.report()

    def _is_known(self) -> bool:
        """Whether its token opens anything."""
        found = [one for one in self.plane.world.store.nodes() if one.ref.id == self.record.ref.id]
        return any(one.state is not NodeState.LOST and one.token_digest == self.record.token_digest for one in found)

    def says(self, lives: tuple[Life, ...]) -> Report:
        """A report, as the control plane reads it."""
        names = tuple(sorted(self.world.node.ready_names()))
        said = Report(
            rev=self.applied.rev,
            failed=self.applied.failed,
            now=self.world.clock.now(),
            lives=lives,
            names=names,
            version="0",
            ticket=self.ticket,
            began=began_here(self.kept, self.world.keys.list()),
        )
        return Report.model_validate_json(said.model_dump_json())

    def parts(self) -> Iterable[tuple[Life, ...]]:
        """What it has to report now."""
        return self.stored.news_in(self.world.store.lives())

    def report(self) -> None:
        """Report all that is new; each report arrives, and its answer too."""
        for part in self.parts():
            self.plane.reports.receive(self.record, report_of(self.says(part)))
            self.stored.note(part)


def with_agent(plane: Plane, name: str) -> Agent:
    """A node whose agent does at once what is news for it."""
    record, _ = plane.add(name)
    agent = Agent(plane, record)
    others = plane.board.on_news

    def on_news(node_id: int) -> None:
        if node_id == record.ref.id:
            agent.follow()
        else:
            others(node_id)

    plane.board.on_news = on_news
    agent.follow()
    return agent
