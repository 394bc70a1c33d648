"""A node: `python -m vpnkeys agent` as its own process, joined to a service on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.process import REPOSITORY, ChildProcess, ProcessError
from tests.support.service import Service
from tests.support.target import RealityTarget

NodeAnswer = dict[str, Any]


class AgentNode(Service):
    """A node with a data directory and ports of its own, whose control plane is another service."""

    def __init__(  # noqa: PLR0913  (all but the first three are seldom given)
        self,
        target: RealityTarget,
        plane: Service,
        name: str,
        *,
        egress_allow: Sequence[str] = (),
        settings: Mapping[str, str | None] | None = None,
        data_dir: Path | None = None,
    ) -> None:
        """Describe the node; it joins at its first start."""
        super().__init__(target, egress_allow=egress_allow, settings=settings, data_dir=data_dir)
        self.plane, self.name = plane, name
        self.command = ("-m", "vpnkeys", "agent")

    def report_often(self) -> None:
        """Run as an agent that reports every second, from the next start on."""
        self.command = (*self.command[:-2], "tests.support.prompt_agent")
        self.env["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), self.env["PYTHONPATH"]])

    def join(self) -> NodeAnswer:
        """Become a node; what the control plane has answered."""
        return self._join(self.plane.client.post("/api/nodes", json={"name": self.name}))

    def replace(self) -> NodeAnswer:
        """Take the place of the node with this name, which another machine has been."""
        return self._join(self.plane.client.post(f"/api/nodes/{self.name}/replace"))

    def _join(self, answer: httpx.Response) -> NodeAnswer:
        made = answer.raise_for_status().json()
        _, *arguments = made["join_command"].split()
        done = self.program(*arguments)
        if done.returncode:
            raise ProcessError(f"the agent did not join: {done.stderr}")
        return dict(made)

    def start(self) -> None:
        """Run the agent, and wait until it says so."""
        if not (self.data_dir / "agent.json").exists():
            self.join()
        self._child = ChildProcess(
            [self.python, *self.command],
            name=f"vpnkeys agent {self.name}",
            log_path=self._own_directory / "log",
            env=self.env,
            cwd=self._own_directory,
        )
        self._child.wait_for(lambda: "runs node" in self.log(), "line that says so", self._timeout)

    def seen(self) -> NodeAnswer:
        """How the control plane shows it."""
        return dict(self.plane.client.get(f"/api/nodes/{self.name}").raise_for_status().json())

    def wait_up(self) -> None:
        """Wait until keys can be made on it."""

        def is_up() -> bool:
            seen = self.seen()
            return bool(seen["state"] == "up" and seen["names_ready"] and seen["applied"] == seen["desired"])

        self.child.wait_for(is_up, "node that is up", self._timeout)

    def stop(self, timeout: float = 60.0) -> int:
        """Ask the agent to end, and wait; its exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout)
