"""A control plane on SQLite and agents with their real code, and a network between them that loses, doubles and delays.

Each question of an agent is a step of a test, which says what becomes of it; late reports arrive when a test says so.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.fakes import FakeClock, FakeNode
from tests.support.databases import sqlite
from tests.support.fleet import Plane
from tests.support.memory import SITE, World
from vpnkeys.agent.agent import Agent
from vpnkeys.agent.membership import DesiredFile
from vpnkeys.api.convert.agents import desired_answer, received_answer, report_of
from vpnkeys.client import Unavailable
from vpnkeys.domain.errors import Unavailable as NotNow
from vpnkeys.domain.key import Key
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.wire.agents import Desired, Received, Report


class Fate(Enum):
    """What becomes of a question of an agent."""

    ARRIVES = "arrives"
    LOST = "lost"
    UNANSWERED = "its answer is lost"
    DOUBLED = "doubled"
    LATE = "late"
    """The agent gives it up, and it arrives when a test says so, or never."""


@cache
def _empty_database() -> Path:
    """A database that was made once, to copy."""
    path = Path(tempfile.mkdtemp(prefix="vpnkeys-test-")) / "empty.db"
    sqlite(path)
    return path


@dataclass(slots=True)
class SqlPlane:
    """A control plane on an SQLite file, which can be started again."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    node: FakeNode = field(default_factory=lambda: FakeNode(names=frozenset(SITE.server_names)))
    plane: Plane = field(init=False)
    on_news: Callable[[int], None] = lambda _node_id: None

    def __post_init__(self) -> None:
        """Make its database, and start it."""
        shutil.copy(_empty_database(), self.path)
        self._start()

    def _start(self) -> None:
        store = SqlStore(open_engine(f"sqlite:///{self.path}"))
        self.plane = Plane(World(store=cast("Any", store), clock=self.clock, node=self.node))
        self.plane.board.on_news = self.heard

    def heard(self, node_id: int) -> None:
        """There may be something new for a node."""
        self.on_news(node_id)

    def restart(self) -> None:
        """What it had in memory is gone."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """Close the database."""
        self.plane.world.store.close()


@dataclass(slots=True)
class Crossing:
    """What an agent takes for its control plane: the way there, as a test has it now."""

    to: SqlPlane
    token: str
    fate: Fate = Fate.ARRIVES
    late: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Nothing is open."""

    def desired(self, rev: str, ticket: str = "") -> Desired | None:
        """What the node should have, at once."""
        if self.fate is not Fate.ARRIVES:
            raise _silent()
        wanted = self.to.plane.board.wanted(self._node_id())
        if wanted.is_told(rev, ticket):
            return None
        return Desired.model_validate_json(desired_answer(wanted, rev).model_dump_json())

    def report(self, report: Report) -> Received:
        """What becomes of it is said by a test."""
        sent = report.model_dump_json()
        if self.fate is Fate.LATE:
            self.late.append(sent)
        if self.fate in {Fate.LATE, Fate.LOST}:
            raise _silent()
        answer = self.arrive(sent)
        if self.fate is Fate.DOUBLED:
            answer = self.arrive(sent)
        if self.fate is Fate.UNANSWERED:
            raise _silent()
        return answer

    def arrive(self, sent: str) -> Received:
        """A report comes in."""
        record = self.to.plane.admin.identify(self.token)
        assert record is not None
        report = Report.model_validate_json(sent)
        wanted = self.to.plane.reports.receive(record, report_of(report))
        return received_answer(wanted, report, token_is_old=False)

    def _node_id(self) -> int:
        record = self.to.plane.admin.identify(self.token)
        assert record is not None
        return record.ref.id


def _silent() -> Unavailable:
    return Unavailable(None, "unreachable", "The server cannot be reached.")


@dataclass(slots=True)
class Outpost:
    """A node: the real agent over an Xray, a database and a disk of its own."""

    name: str
    way: Crossing
    desired: DesiredFile
    world: World = field(default_factory=lambda: World(node=FakeNode(names=frozenset(SITE.server_names))))
    agent: Agent = field(init=False)

    def __post_init__(self) -> None:
        """Start the agent."""
        self.world.clock.time = self.way.to.clock.time
        self.restart()

    def restart(self) -> None:
        """What the agent had in memory is gone; Xray and its customers notice nothing."""
        self.world.keys.reconciler.late_calls = LateCalls(is_child=True)
        traffic, reconciler = self.world.enforcer.traffic, self.world.keys.reconciler
        parts: dict[str, Any] = {"keys": self.world.keys, "traffic": traffic, "reconciler": reconciler}
        parts |= {"clock": self.world.clock, "node": self.world.node, "overview": SimpleNamespace(cpu_share=None)}
        server = SimpleNamespace(**parts, xray_version="26", start=lambda: None)
        self.agent = Agent(
            cast("Any", server), cast("Any", self.way), self.desired, (self.way.token,), lambda _tokens: None
        )
        self.agent.following.start = self.agent.reporting.start = lambda: None  # type: ignore[method-assign]
        self.agent.start()

    def reboot(self) -> None:
        """The machine crashes: its Xray begins a new life, and counters that no sample has seen are gone."""
        self.world = World(store=self.world.store, clock=self.world.clock, node=self.world.node)
        self.restart()

    def follow(self, fate: Fate) -> None:
        """One step of the agent's loop: apply what is kept, then ask, and keep the answer."""
        self.way.fate = fate
        self._try(self.agent.follow)

    def report(self, fate: Fate) -> None:
        """One step of the agent's other loop."""
        self.way.fate = fate
        self._try(self.agent.report)

    def catch_up(self) -> None:
        """All that an agent does until it has nothing more to do."""
        for _ in range(3):
            self.world.keys.reconciler.reconcile()
            self.follow(Fate.ARRIVES)
            self.report(Fate.ARRIVES)

    def sample(self) -> None:
        """Its sampler reads the counters."""
        self.world.enforcer.traffic.collect()

    def lets_in(self, key: Key) -> bool:
        """Whether a customer gets in."""
        return self.world.node.connect(key) is not None

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except (Unavailable, NotNow):
            return  # its worker tries again


def outpost(to: SqlPlane, name: str, ports: PortRange, directory: Path) -> Outpost:
    """A node that has joined."""
    _, token = to.plane.add(name, ports)
    return Outpost(name, Crossing(to, token), DesiredFile(directory / f"{name}.json"))
