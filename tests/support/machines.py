"""Machines of the tests' own: a network namespace each, every one joined by a cable to the one in the middle.

In the middle live the tests, the control plane, targets, far ends and customers; on each machine a node. What happens
on a cable is in a test's hand. Nothing of it is seen outside, and nothing is left of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from tests.support import process
from tests.support.room import _CLONE_NEWNET, _checked, _enter, _here, _ip, _libc

MIDDLE = "198.20.0.1"
_TABLE = "vpnkeys_test_cable"


def can_make_machines() -> bool:
    """Whether this process may make network namespaces and has what it takes to furnish them."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "nft", "nsenter")))


@dataclass(frozen=True)
class Machine:
    """One of them, by a descriptor of its namespace."""

    number: int
    namespace: int

    @property
    def address(self) -> str:
        """Its address, by which customers reach it."""
        return f"198.20.{self.number}.2"

    @property
    def enter(self) -> tuple[str, ...]:
        """What runs a program there, under the same process id."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespace}")

    def run(self, *command: str, text: str = "") -> str:
        """What a program there prints."""
        done = subprocess.run([*self.enter, *command], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextmanager
    def cable(self, port: int, verdict: str) -> Iterator[None]:
        """Do this, such as "drop", with each packet between here and a port in the middle, both ways."""
        chains = (("input", "saddr", "sport"), ("output", "daddr", "dport"))
        lines = [
            f"add chain inet {_TABLE} {hook} {{ type filter hook {hook} priority -300; }}\n"
            f"add rule inet {_TABLE} {hook} ip {address} {MIDDLE} tcp {way} {port} {verdict}"
            for hook, address, way in chains
        ]
        self.run("nft", "-f", "-", text="\n".join([f"add table inet {_TABLE}", *lines, ""]))
        try:
            yield
        finally:
            self.run("nft", "delete", "table", "inet", _TABLE)

    def connections_to(self, port: int) -> list[int]:
        """The ports here of all connections to a port in the middle."""
        lines = self.run("ss", "--no-header", "--tcp", "--numeric", "state", "established", f"dport = :{port}")
        return [int(line.split()[2].rpartition(":")[2]) for line in lines.splitlines()]


class Machines:
    """All of them. Inside the context the calling thread, and whatever it starts, lives in the middle."""

    def __init__(self, count: int) -> None:
        """Describe them."""
        self._count = count
        self._namespaces: list[int] = []

    def __enter__(self) -> Self:
        """Make them, and plug in the cables."""
        self._home = _here()
        try:
            for _ in range(self._count + 1):
                _checked(_libc.unshare(_CLONE_NEWNET))
                self._namespaces.append(_here())
            middle, *others = self._namespaces
            self.all = [Machine(number, namespace) for number, namespace in enumerate(others, 1)]
            _enter(middle)
            _ip("link set lo up", f"addr add {MIDDLE}/32 dev lo")
            for machine in self.all:
                self._plug_in(machine)
            process._spawner.submit(_enter, middle).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _plug_in(self, machine: Machine) -> None:
        number = machine.number
        _ip(
            f"link add to{number} type veth peer name cable netns /proc/{os.getpid()}/fd/{machine.namespace}",
            f"link set to{number} up",
            f"addr add 198.20.{number}.1/24 dev to{number}",
        )
        for command in (
            "link set lo up",
            "link set cable up",
            f"addr add {machine.address}/24 dev cable",
            f"route add default via 198.20.{number}.1",
        ):
            machine.run("ip", *command.split())

    def __exit__(self, *_: object) -> None:
        """Go home; the kernel takes the machines apart when their last sockets close."""
        _enter(self._home)
        process._spawner.submit(_enter, self._home).result()
        for namespace in (self._home, *self._namespaces):
            os.close(namespace)
