"""A control plane and its nodes, every one of them real, each node on a machine of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.agent import AgentNode
from tests.support.clients import SingBoxClient
from tests.support.counting import wire_bytes
from tests.support.disks import small_disk
from tests.support.keys import Key, link_of
from tests.support.losing import Losing
from tests.support.machines import MIDDLE, Machine, Machines
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.rows import rows_of
from tests.support.scenes import _wrong_by
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, Echo, transfer
from tests.support.target import RealityTarget

A_CONNECTION_ADDS = 2_000
_DISK_MIB = 32


class ControlPlane(Service):
    """A service in the middle, which every machine reaches."""

    def __init__(self, target: RealityTarget, egress_allow: Sequence[str], settings: Mapping[str, str | None]) -> None:
        """Describe it."""
        own = {"VPNKEYS_SERVER_ADDRESS": MIDDLE, "VPNKEYS_INBOUND_LISTEN": MIDDLE}
        super().__init__(target, egress_allow=egress_allow, settings=own | dict(settings))
        self.address = (MIDDLE, free_port())
        self.env["VPNKEYS_LISTEN"] = f"{MIDDLE}:{self.address[1]}"

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"https://{MIDDLE}:{self.address[1]}"


class Node(AgentNode):
    """A node on a machine of its own, with a small disk and a time of day in a test's hand."""

    def __init__(  # noqa: PLR0913, PLR0917  (the parts of its surroundings)
        self,
        machine: Machine,
        disk: Path,
        clock: Path,
        target: RealityTarget,
        plane: Service,
        egress_allow: Sequence[str],
    ) -> None:
        """Describe it; it joins at its first start."""
        own = {"VPNKEYS_SERVER_ADDRESS": machine.address, "VPNKEYS_INBOUND_LISTEN": machine.address}
        super().__init__(target, plane, f"far-{machine.number}", egress_allow=egress_allow, settings=own, data_dir=disk)
        self.machine, self.clock = machine, clock
        clock.write_text("0\n")
        self.env |= _wrong_by(clock, clock.with_suffix(".so"))
        self.python, *more = machine.enter
        self.command = (*more, sys.executable, "-m", "vpnkeys", "agent")

    def ask_by(self, url: str) -> None:
        """Reach the control plane by another address from the next start on."""
        file = self.data_dir / "agent.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"url": url}))

    def counted_here(self, key: Key) -> int:
        """What its own database has of a key, over all lives of its Xray."""
        query = "SELECT COALESCE(SUM(up_bytes + down_bytes), 0) FROM traffic_usage WHERE key_uuid = ?"
        return int(rows_of(self.database, query, key["uuid"])[0][0])

    def is_back(self) -> bool:
        """Whether the control plane hears of it, and it has all that it should."""
        seen = self.seen()
        return bool(seen["state"] in {"up", "drained"} and seen["names_ready"] and seen["applied"] == seen["desired"])


@dataclass(frozen=True)
class Fleet:
    """All of them, with the far ends of customers."""

    plane: Service
    nodes: list[Node]
    bytes: ByteServer
    echo: Echo

    def make(self, node: Node, **fields: object) -> Key:
        """A key on a node that is up; what a busy machine does not confirm in three seconds is asked again."""
        answers: list[httpx.Response] = []

        def is_made() -> bool:
            answers.append(self.plane.client.post("/api/keys", json={"name": "far", "node": node.name, **fields}))
            return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        wait_until(is_made)
        assert answers[-1].status_code == httpx.codes.OK, answers[-1].text
        return dict(answers[-1].json())

    def counted(self, key: Key) -> int:
        """What the control plane has counted of a key."""
        answer = self.plane.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()
        return int(answer.json()["total_bytes"])

    def send(self, proxy: Address, size: int) -> int:
        """Move known bytes over a connection of its own, and return how many passed on the wire."""
        with self.bytes.open(proxy) as sock:
            transfer(sock, size, size)
            return wire_bytes(sock)

    def client(self, *keys: Key) -> SingBoxClient:
        """A customer with these keys. Xray would try for two seconds where a port is closed."""
        return SingBoxClient.many([link_of(self.plane, key) for key in keys])

    def wait_counted(self, node: Node, key: Key, sent: int, connections: int = 1) -> None:
        """Until all that was sent is counted, by both alike; then no byte too much is."""
        adds = connections * A_CONNECTION_ADDS
        assert wait_until(lambda: self._agrees(node, key, sent - adds)), (
            sent,
            self.counted(key),
            node.counted_here(key),
            node.log()[-2000:],
        )
        assert self.counted(key) <= sent * 1.001 + adds, (self.counted(key), sent)

    def _agrees(self, node: Node, key: Key, least: int) -> bool:
        here, there = self.counted(key), node.counted_here(key)
        return here == there >= least


@dataclass(frozen=True)
class Surroundings:
    """Machines without nodes yet, and what nodes and customers reach in the middle."""

    machines: Machines
    target: RealityTarget
    bytes: ByteServer
    echo: Echo

    @property
    def egress(self) -> tuple[str, str]:
        """The far ends as private destinations that customers may reach."""
        return self.bytes.egress_rule, self.echo.egress_rule

    def nodes(self, stack: ExitStack, directory: Path, plane: Service) -> list[Node]:
        """A node for each machine, described; they are closed with `stack`."""
        nodes = []
        for machine in self.machines.all:
            disk = stack.enter_context(small_disk(directory / f"disk-{machine.number}", _DISK_MIB))
            nodes.append(Node(machine, disk, directory / f"clock-{machine.number}", self.target, plane, self.egress))
            stack.callback(nodes[-1].close)
        return nodes


@contextmanager
def surroundings(count: int) -> Iterator[Surroundings]:
    """So many machines, and a target and far ends in the middle."""
    with ExitStack() as stack:
        machines = stack.enter_context(Machines(count))
        target = stack.enter_context(RealityTarget(("one.example.com",), host=MIDDLE, close_idle_s=0.1))
        yield Surroundings(machines, target, stack.enter_context(ByteServer(MIDDLE)), stack.enter_context(Echo(MIDDLE)))


@contextmanager
def running_fleet(
    directory: Path,
    count: int,
    *,
    losing: bool = False,
    prompt: bool = False,
    settings: Mapping[str, str | None] | None = None,
) -> Iterator[tuple[Fleet, Losing | None]]:
    """A control plane and so many nodes, all up; with `losing`, the first node asks by what can lose answers.

    With `prompt` all report every second.
    """
    with ExitStack() as stack:
        around = stack.enter_context(surroundings(count))
        plane = stack.enter_context(ControlPlane(around.target, around.egress, settings or {}))
        lossy = stack.enter_context(Losing(*plane.address)) if losing else None
        nodes = around.nodes(stack, directory, plane)
        if prompt:
            for node in nodes:
                node.report_often()
        start_all(nodes, None if lossy is None else f"https://{MIDDLE}:{lossy.port}")
        yield Fleet(plane, nodes, around.bytes, around.echo), lossy


def start_all(nodes: Sequence[Node], first_by: str | None = None) -> None:
    """Let nodes join and start, and wait until all are up; the first one reaches its control plane by `first_by`."""
    with ThreadPoolExecutor() as pool:  # each start takes seconds, most of them on its own
        list(pool.map(Node.join, nodes))
        if first_by is not None:
            nodes[0].ask_by(first_by)
        list(pool.map(Node.start, nodes))
    for node in nodes:
        node.wait_up()
