"""What goes wrong with a node and with the way to it, each as a context: it lasts as long as the block."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from types import MappingProxyType

from tests.support.disks import empty, fill_for_good
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
def _lost_answers(scene: Scene) -> Iterator[None]:
    """What the agent says arrives and is stored, and its answer never comes."""
    scene.way.is_losing, lost = True, scene.way.lost
    yield
    scene.way.is_losing = False
    assert scene.way.lost > lost, "no answer was lost"


@contextmanager
def _rebooted(scene: Scene) -> Iterator[None]:
    """All that runs on the machine ends at once, and starts again, while nothing comes through."""
    with scene.node.machine.cable(scene.port, "drop"):
        scene.node.kill()
        scene.node.start()
        yield


@contextmanager
def _full_disk(scene: Scene) -> Iterator[None]:
    """Nothing can be written on the node."""
    fill_for_good(scene.node.data_dir)
    yield
    empty(scene.node.data_dir)


def _wrong_clock(by: timedelta) -> Callable[[Scene], AbstractContextManager[None]]:
    @contextmanager
    def set_wrong(scene: Scene) -> Iterator[None]:
        scene.node.clock.write_text(f"{by.total_seconds():.0f}\n")
        yield
        scene.node.clock.write_text("0\n")

    return set_wrong


@contextmanager
def _killed_xray(scene: Scene, after_s: float = 0.0) -> Iterator[None]:
    """Xray is killed, and the agent starts another one."""
    killed = scene.node.xray_pid()
    with _later(lambda: os.kill(killed, signal.SIGKILL), after_s):
        yield
    scene.node.child.wait_for(lambda: scene.node.find_xray_pid() not in (None, killed), "another Xray")


@contextmanager
def _killed_agent(scene: Scene, after_s: float = 0.0) -> Iterator[None]:
    """The agent is killed, which ends its Xray, and started again."""
    with _later(scene.node.kill, after_s):
        yield
    scene.node.start()


@contextmanager
def _killed_plane(scene: Scene, after_s: float = 0.0) -> Iterator[None]:
    """The control plane is killed, and started again."""
    with _later(scene.fleet.plane.kill, after_s):
        yield
    scene.fleet.plane.start()


@contextmanager
def _later(kill: Callable[[], None], after_s: float) -> Iterator[None]:
    """Kill so many seconds after the block has begun; it has been done when the block ends."""
    if not after_s:
        kill()
        yield
        return
    timer = threading.Timer(after_s, kill)
    timer.start()
    yield
    timer.join()


FAULTS: MappingProxyType[str, Fault] = MappingProxyType(
    {
        "cut for a moment": Fault(_on_the_way("drop"), 4.0),
        "control plane killed": Fault(_killed_plane, 1.0, spares_plane=False),
        "Xray killed": Fault(_killed_xray, 0.0, spares_xray=False),
    }
)
"""Those that are always tried."""

LONGER_FAULTS: MappingProxyType[str, Fault] = MappingProxyType(
    {
        "three packets of ten lost": Fault(_on_the_way("numgen random mod 10 < 3 drop"), 60.0),
        "answers lost": Fault(_lost_answers, 20.0),
        "agent killed": Fault(_killed_agent, 2.0, spares_xray=False),
        "rebooted while cut off": Fault(_rebooted, 20.0, spares_xray=False),
        "disk full": Fault(_full_disk, 20.0),
        "clock an hour ahead": Fault(_wrong_clock(timedelta(hours=1)), 20.0),
        "clock an hour behind": Fault(_wrong_clock(timedelta(hours=-1)), 20.0),
        "cut for ten minutes": Fault(_on_the_way("drop"), 600.0),
    }
)

_WORK_AFTERWARDS_S = 1.0


def kill_of_any(chance: Random, within_s: float) -> Fault:
    """Agent, Xray or control plane killed at a moment that nobody knows, while keys are made and deleted."""
    after_s = chance.uniform(0.01, within_s)
    kill, spares_xray = chance.choice(((_killed_agent, False), (_killed_xray, False), (_killed_plane, True)))
    return Fault(
        lambda scene: kill(scene, after_s),
        after_s + _WORK_AFTERWARDS_S,
        spares_xray=spares_xray,
        spares_plane=kill is not _killed_plane,
    )
