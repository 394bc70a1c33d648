"""The book of a benchmark: every figure beside its floor of the same run, told as a table and kept as JSON.

A figure alone says little on a machine that others share: its ratio to a floor that was measured in the same minute
says whether the program or the machine was slow. `noise` is how far the floor itself moved (its p95 over its p50, less
one), which is the least by which two ratios must differ to mean anything.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Better = Literal["lower", "higher"]

FLOORS = {
    "empty server": "a server like the service's (uvicorn on uvloop and httptools, the same certificate and listener "
    "settings), whose handler answers the same 20 bytes to everything",
    "AddInbound, commit, config.json": "what a key cannot do without, one after the other: Xray's AddInbound, a "
    "durable commit of one row and a durable write of a file like config.json",
    "its next connection": "the second connection through the same key, when nobody meets anybody for the first time",
    "Xray without mark and guard": "the same Xray with the service's config.json but without the mark on what it "
    "sends, so that the guard in the kernel lets its packets pass unjudged; nothing samples or supervises it",
    "the same Xray by hand": "the same Xray with the same config.json, started by the benchmark at once after its end",
    "no keys coming or going": "the same ping-pong in the three seconds before",
    "the sample": "Xray's answer about the counters alone; nothing is written",
    "its upserts by sqlite3": "as many rows, added to in three tables in one transaction by Python's sqlite3 alone",
    "its statement alone": "the same rows read or written in a transaction by one statement for each table",
    "its libraries alone": "a Python that imports the same libraries and does nothing",
}
"""What each floor is: the least that the figure could be on this machine in this minute."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What many measurements of one thing came to."""

    p50: float
    p95: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of some values; of a single one it is that value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        cuts = statistics.quantiles(values, n=20)
        return cls(statistics.median(values), cuts[18], max(values))

    @property
    def noise(self) -> float:
        """By which part of itself it moved."""
        return self.p95 / self.p50 - 1 if self.p50 else 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: a value, what it is measured against, and what it should be."""

    name: str
    value: float
    unit: str
    better: Better = "lower"
    goal: float | None = None
    floor: float | None = None
    floor_is: str = ""
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a floor that FLOORS does not explain."""
        if self.floor is not None and self.floor_is not in FLOORS:
            raise ValueError(f"{self.name}: say in FLOORS what {self.floor_is!r} is")

    @property
    def ratio(self) -> float | None:
        """How many times the floor it is."""
        return self.value / self.floor if self.floor else None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met, if there is one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


@dataclass(slots=True)
class Book:
    """All figures of one run."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Write one down, and say it at once."""
        self.figures.append(figure)
        sys.stdout.write(f"{line_of(figure)}\n")
        sys.stdout.flush()

    def write(self, path: Path) -> None:
        """Keep them for a comparison."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(figure) | {"ratio": figure.ratio, "is_met": figure.is_met} for figure in self.figures]
        path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def legend(figures: Sequence[Figure]) -> list[str]:
    """Return a line for each floor of these figures, which says what it is."""
    named = dict.fromkeys(figure.floor_is for figure in figures if figure.floor is not None)
    return [f"{name}: {FLOORS[name]}" for name in named]


def line_of(figure: Figure) -> str:
    """A figure as a line of the table."""
    mark = {True: "met", False: "MISSED", None: ""}[figure.is_met]
    goal = "" if figure.goal is None else f"{'≤' if figure.better == 'lower' else '≥'} {figure.goal:g}"
    against = "" if figure.ratio is None else f"{figure.ratio:6.2f} × {figure.floor_is} ({figure.floor:.3g})"
    noise = f"±{figure.noise:4.0%}" if figure.floor else ""
    return f"{figure.name:<58} {figure.value:10.3f} {figure.unit:<6} {goal:>9} {mark:<7} {against:<58} {noise}"
