"""Agents of nodes without an Xray: they join a real service, and report what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

from tests.support.process import wait_until
from tests.support.service import Service
from vpnkeys import __version__
from vpnkeys.client import ApiError
from vpnkeys.client.agent import ControlPlane
from vpnkeys.domain.reality import KeyPair
from vpnkeys.wire.agents import Desired, JoinRequest, Life, Report

_REPORT_EVERY_S = 2.0
_PAIR = KeyPair.new()


@dataclass(slots=True)
class SimulatedAgent:
    """One node. What it says of itself can be changed while it runs."""

    plane: ControlPlane
    reporting: ControlPlane
    name: str
    failing: Callable[[Desired], dict[str, str]] = lambda _wanted: {}
    clock_ahead: timedelta = timedelta()
    cpu_share: float | None = 0.25
    names: tuple[str, ...] = ("target.example",)
    version: str = __version__
    used: dict[str, tuple[int, int]] = field(default_factory=dict)
    is_silent: bool = False
    wanted: Desired = field(default_factory=lambda: Desired(rev="", keys=()), init=False)
    ended: Event = field(default_factory=Event, init=False)

    def follow(self) -> None:
        """Take what it should have, and confirm it, until it is ended."""
        while not self.ended.is_set():
            try:
                found = self.plane.desired(self.wanted.rev)
            except Exception:  # noqa: BLE001 - its connection may be closed while it waits
                self.ended.wait(0.2)
                continue
            if found is not None:
                self.wanted = found
                self.report()

    def go_on_reporting(self) -> None:
        """Report every two seconds, until it is ended."""
        while not self.ended.wait(_REPORT_EVERY_S):
            self.report()

    def report(self) -> None:
        """Say what it has, unless it is silent."""
        if self.is_silent:
            return
        now = datetime.now(UTC).replace(tzinfo=None) + self.clock_ahead
        lives = (Life(epoch="one", sampled_at=now, usage=self.used),)
        said = Report(
            rev=self.wanted.rev,
            failed=self.failing(self.wanted),
            now=now,
            lives=lives,
            names=self.names,
            cpu_share=self.cpu_share,
            version=self.version,
            xray_version="26.3.27",
        )
        with suppress(ApiError):  # as by an agent, it is said again
            self.reporting.report(said)


@contextmanager
def simulated_agent(service: Service, name: str, ports: str = "20001-20100", **fields: Any) -> Iterator[SimulatedAgent]:  # noqa: ANN401 - JSON
    """A node that is up; it is removed in the end, with its keys."""
    made = service.client.post("/api/nodes", json={"name": name, **fields}).raise_for_status().json()
    *_, fingerprint = made["join_command"].split()
    joining = ControlPlane(service.base_url, made["join_token"], fingerprint)
    address = f"{name}.example"
    asked = JoinRequest(
        token=made["join_token"],
        public_key=_PAIR.public_key,
        private_key=_PAIR.private_key,
        address=address,
        port_range=ports,
    )
    token = joining.join(asked).token
    joining.close()
    asking, reporting = (ControlPlane(service.base_url, token, fingerprint) for _ in range(2))
    agent = SimulatedAgent(asking, reporting, name)
    follower, reporter = (Thread(target=work, daemon=True) for work in (agent.follow, agent.go_on_reporting))
    follower.start()
    reporter.start()
    path = f"/api/nodes/{made['node']['id']}"
    try:
        assert wait_until(lambda: service.client.get(path).json()["applied"] is not None)
        yield agent
    finally:
        agent.ended.set()
        if service.client.get(path).status_code == 200:
            service.client.patch(path, json={"state": "lost"}).raise_for_status()
            service.client.delete(path).raise_for_status()
        reporter.join(10)
        agent.plane.close()
        agent.reporting.close()
