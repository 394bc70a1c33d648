"""Two services side by side, measured from outside alone: `vpnkeys serve`, its settings, HTTPS and the kernel's counts.

The same code measures both, so that a change of the benchmark is no change of speed. It knows nothing of what is
inside `src`, so that any commit with this API can be measured.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from types import TracebackType
from typing import Self

from tests.bench.pairs import Pair
from tests.bench.trees import Tree, check_import
from tests.bench.wrk import CONNECTIONS, rate
from tests.support.lean import LeanClient
from tests.support.procfs import cpu_s, resident_mb
from tests.support.service import Service
from tests.support.target import RealityTarget

KEYS = 100
WARM_UP, LEAST_GOES = 5, 10
IDLE_S = 4.0
HAMMER_S = 1


class SideError(RuntimeError):
    """One of the two services could not be measured."""

    def __init__(self, tree: Tree, error: Exception) -> None:
        """Note which one."""
        super().__init__(f"{tree.name}: {error}")
        self.tree = tree


class Side:
    """A service from one of the trees, with a hundred keys."""

    def __init__(self, tree: Tree, target: RealityTarget) -> None:
        """Start it; raises SideError."""
        self.tree = tree
        # Counted each second, so that the few seconds in which it is left alone hold enough of its regular work.
        settings = {"VPNKEYS_TRAFFIC_INTERVAL_S": "1"}
        self.service = Service(target, port_count=KEYS + 20, settings=settings)
        self.service.python = tree.python
        self.service.env["PYTHONPATH"] = str(tree.source)
        try:
            with self.named():
                check_import(tree, self.service.env, self.service.data_dir)
                self.service.start()
                self.service.wait_ready()
                with LeanClient.of(self.service) as client:
                    keys = [client.ask("POST", "/api/keys", b'{"name": "kept"}') for _ in range(KEYS)]
                self.key_id = str(keys[KEYS // 2]["id"])
        except BaseException:
            self.service.close()
            raise

    @contextmanager
    def named(self) -> Iterator[None]:
        """Raise SideError for whatever goes wrong inside, so that it says on which side."""
        try:
            yield
        except (RuntimeError, OSError, subprocess.SubprocessError, LookupError, ValueError, TypeError) as error:
            raise SideError(self.tree, error) from error


Sides = Sequence[Side]
Costs = dict[str, float]

Act = Callable[[Side, LeanClient], Costs]
"""One go on one side: milliseconds by figure."""


@dataclass(frozen=True, slots=True)
class Part:
    """Figures, with their units, that are measured together: costs for each side, in the order of the sides given."""

    figures: Mapping[str, str]
    measure: Callable[[Sides], list[Costs]]


def _start(sides: Sides) -> list[Costs]:
    """End each and start it anew."""
    costs = []
    for side in sides:
        with side.named():
            side.service.stop()
            began = time.perf_counter()
            side.service.start()
            costs.append({"start to first answer": time.perf_counter() - began})
    for side in sides:
        with side.named():
            side.service.wait_ready()
    return costs


def _rest(sides: Sides) -> list[Costs]:
    """Leave both alone at the same time."""
    pids = [side.service.pid for side in sides]
    before = [cpu_s(pid) for pid in pids]
    time.sleep(IDLE_S)
    return [
        {"CPU, idle": (cpu_s(pid) - then) / IDLE_S * 100, "memory, idle": resident_mb(pid)}
        for pid, then in zip(pids, before, strict=True)
    ]


def _in_turn(act: Act, seconds: float, cpu: str, sides: Sides) -> list[Costs]:
    """Act on the one and on the other over kept connections until the time is over; and what the service computed.

    Of the times it is the lower quartile: what a go takes while other programs leave the processor alone.
    """
    goes: list[list[Costs]] = [[] for _ in sides]
    with ExitStack() as stack:
        clients = []
        for side in sides:
            with side.named():
                clients.append(stack.enter_context(LeanClient.of(side.service)))
                for _ in range(WARM_UP):
                    act(side, clients[-1])
        before = [cpu_s(side.service.pid) for side in sides]
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(goes[-1]) < LEAST_GOES:
            for side, client, done in zip(sides, clients, goes, strict=True):
                with side.named():
                    done.append(act(side, client))
        used = [cpu_s(side.service.pid) - then for side, then in zip(sides, before, strict=True)]
    return [
        {name: quantiles([go[name] for go in done])[0] for name in done[0]} | {cpu: spent * 1e3 / len(done)}
        for done, spent in zip(goes, used, strict=True)
    ]


def _timed(name: str, method: str, path: str, side: Side, client: LeanClient) -> Costs:
    began = time.perf_counter()
    client.ask(method, path.format(side.key_id))
    return {name: (time.perf_counter() - began) * 1e3}


def _come_and_go(side: Side, client: LeanClient) -> Costs:
    began = time.perf_counter()
    key = client.ask("POST", "/api/keys", b'{"name": "passing"}')
    made = time.perf_counter()
    client.ask("DELETE", f"/api/keys/{key['id']}")
    return {"create": (made - began) * 1e3, "delete": (time.perf_counter() - made) * 1e3}


def _hammer(name: str, path: str, sides: Sides) -> list[Costs]:
    """Ask at sixteen connections, in turn; milliseconds for each request."""
    costs = []
    for side in sides:
        with side.named():
            url = f"{side.service.base_url}{path.format(side.key_id)}"
            costs.append({name: 1e3 / rate(url, side.service.api_key, HAMMER_S)})
    return costs


def _single(name: str, seconds: float, method: str, path: str) -> Part:
    cpu = f"{name}, CPU"
    return Part({name: "ms", cpu: "ms"}, partial(_in_turn, partial(_timed, name, method, path), seconds, cpu))


def _sixteen(what: str, path: str) -> Part:
    name = f"{what}, {CONNECTIONS} connections"
    return Part({name: "ms"}, partial(_hammer, name, path))


START = Part({"start to first answer": "s"}, _start)
PARTS = (
    Part({"CPU, idle": "%", "memory, idle": "MB"}, _rest),
    _single("get one key", 1.5, "GET", "/api/keys/{}"),
    _single(f"list {KEYS} keys", 1.5, "GET", "/api/keys"),
    _single("get traffic", 1.5, "GET", "/api/keys/{}/traffic"),
    _single(f"sync-config, {KEYS} keys", 1.5, "POST", "/api/system/sync-config"),
    Part(
        {"create": "ms", "delete": "ms", "create and delete, CPU": "ms"},
        partial(_in_turn, _come_and_go, 2.0, "create and delete, CPU"),
    ),
    _sixteen("get one key", "/api/keys/{}"),
    _sixteen(f"list {KEYS} keys", "/api/keys"),
    _sixteen("get traffic", "/api/keys/{}/traffic"),
)
FIGURES = {name: unit for part in (START, *PARTS) for name, unit in part.figures.items()}
"""Every figure and its unit."""


class Duel:
    """Both services; every figure is measured on the one and on the other in turn, in the same seconds."""

    def __init__(self, base: Tree, this: Tree, target: RealityTarget) -> None:
        """Start the base's service, then this tree's; raises SideError."""
        self._base = Side(base, target)
        try:
            self._this = Side(this, target)
        except BaseException:
            self._base.service.close()
            raise
        self._count = 0

    def pairs(self, figures: Sequence[str]) -> Iterator[tuple[str, Pair]]:
        """Yield a pair for each of these figures as soon as there is one; raises SideError.

        Two processes of one program differ, so that after every other pair both are started anew, which is measured.
        """
        # Who comes second finds a warmer machine: each is first as often as the other, at a start as well.
        base_first = (self._count + 1) // 2 % 2 == 0
        sides = (self._base, self._this) if base_first else (self._this, self._base)
        parts = [part for part in PARTS if part.figures.keys() & set(figures)]
        looks_again = len(figures) < len(FIGURES) and START.figures.keys() & set(figures)
        if self._count % 2 == 1 or looks_again:
            parts.insert(0, START)
        self._count += 1
        for part in parts:
            costs = part.measure(sides)
            base, this = costs if base_first else reversed(costs)
            yield from ((name, Pair(base[name], this[name])) for name in part.figures if name in figures)

    def __enter__(self) -> Self:
        """Return it: both run already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        self._base.service.close()
        self._this.service.close()
