"""What goes wrong with a node and with the way to it, each as a context: it lasts as long as the block."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from tests.support.losing import Losing
from tests.support.many_nodes import Fleet, Node


@dataclass(frozen=True)
class Scene:
    """All nodes, of which this one is met by the fault, and what stands between it and the control plane."""

    fleet: Fleet
    node: Node
    way: Losing

    @property
    def port(self) -> int:
        """The port in the middle by which the node asks."""
        return self.way.port


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong for so many seconds.

    `spares_xray`: the node's customers notice nothing, and no byte of theirs may be missing. `spares_plane`: requests
    about other nodes are answered as always.
    """

    during: Callable[[Scene], AbstractContextManager[None]]
    lasts_s: float
    spares_xray: bool = True
    spares_plane: bool = True


def _on_the_way(verdict: str) -> Callable[[Scene], AbstractContextManager[None]]:
    return lambda scene: scene.node.machine.cable(scene.port, verdict)


@contextmanager
def _killed_xray(scene: Scene) -> Iterator[None]:
    """Xray is killed, and the agent starts another one."""
    killed = scene.node.xray_pid()
    os.kill(killed, signal.SIGKILL)
    yield
    scene.node.child.wait_for(lambda: scene.node.find_xray_pid() not in (None, killed), "another Xray")


@contextmanager
def _killed_plane(scene: Scene) -> Iterator[None]:
    """The control plane is killed, and started again."""
    scene.fleet.plane.kill()
    yield
    scene.fleet.plane.start()


FAULTS: MappingProxyType[str, Fault] = MappingProxyType(
    {
        "cut for a moment": Fault(_on_the_way("drop"), 4.0),
        "control plane killed": Fault(_killed_plane, 1.0, spares_plane=False),
        "Xray killed": Fault(_killed_xray, 0.0, spares_xray=False),
    }
)
