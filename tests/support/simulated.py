"""Agents of nodes without an Xray: they join a real service, and report what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
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

    def close(self) -> None:
        """Close its connections."""
        self.plane.close()
        self.reporting.close()

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
    path = f"/api/nodes/{made['node']['id']}"
    with ExitStack() as ending:
        ending.callback(_remove, service, path)
        agent = _join(service, made, ports)
        ending.callback(agent.close)
        follower, reporter = (Thread(target=work, daemon=True) for work in (agent.follow, agent.go_on_reporting))
        follower.start()
        reporter.start()
        ending.callback(reporter.join, 10)
        ending.callback(agent.ended.set)
        assert wait_until(lambda: service.client.get(path).json()["applied"] is not None)
        yield agent


def _join(service: Service, made: dict[str, Any], ports: str) -> SimulatedAgent:
    """The node that was made, with a token of its own."""
    *_, fingerprint = made["join_command"].split()
    name = made["node"]["name"]
    joining = ControlPlane(service.base_url, made["join_token"], fingerprint)
    asked = JoinRequest(
        token=made["join_token"],
        public_key=_PAIR.public_key,
        private_key=_PAIR.private_key,
        address=f"{name}.example",
        port_range=ports,
    )
    token = joining.join(asked).token
    joining.close()
    asking, reporting = (ControlPlane(service.base_url, token, fingerprint) for _ in range(2))
    return SimulatedAgent(asking, reporting, name)


def _remove(service: Service, path: str) -> None:
    """Remove a node, unless a test has done so."""
    assert wait_until(lambda: _is_removed(service, path)), service.client.get(path).text


def _is_removed(service: Service, path: str) -> bool:
    """Whether a node is gone by now. A server whose disk stands still for seconds says to try again."""
    found = service.client.get(path)
    if found.status_code == HTTPStatus.NOT_FOUND:
        return True
    if found.json()["state"] != "joining":
        service.client.patch(path, json={"state": "lost"})
    return service.client.delete(path).is_success
