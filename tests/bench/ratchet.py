"""No slower than before: what has a floor is measured, and its ratio compared with the recorded one.

`python -m tests.bench.ratchet` ends with 1 when a ratio is worse than `recorded.json` has it by more than the noise, in
the best of three tries: others share the machine, and no fault of ours comes and goes with them. Ratios, not seconds,
because machines differ. `--record` measures five times and writes the medians down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.compare import compare

RECORDED = Path(__file__).with_name("recorded.json")
MEASURED = ("test_reads.py", "test_create.py", "test_ticks.py", "test_weight.py")
TRIES = 3
RUNS = 5

Row = dict[str, Any]


def measure() -> list[Row]:
    """One run; the figures that have a floor. Raises CalledProcessError when it cannot be measured at all."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "bench.json"
        tests = [str(RECORDED.with_name(name)) for name in MEASURED]
        command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-s", *tests]
        subprocess.run(command, env={**os.environ, "VPNKEYS_BENCH_JSON": str(file)}, check=True)
        rows: list[Row] = json.loads(file.read_text(encoding="utf-8"))
        return [row for row in rows if row["ratio"]]


def best_of(one: list[Row], other: list[Row]) -> list[Row]:
    """Of each figure the try with the better ratio."""
    known = {row["name"]: row for row in one}
    return [min(row, known.get(row["name"], row), key=_badness) for row in other]


def _badness(row: Row) -> float:
    return float(row["ratio"] if row["better"] == "lower" else -row["ratio"])


def summed_up(runs: list[list[Row]]) -> list[Row]:
    """The median ratio of each figure, and by how much the runs differ."""
    found = []
    for row in runs[0]:
        same = [other for run in runs for other in run if other["name"] == row["name"]]
        ratios = [float(other["ratio"]) for other in same]
        noise = max(max(ratios) / min(ratios) - 1, median(float(other["noise"]) for other in same))
        found.append(
            {
                "name": row["name"],
                "better": row["better"],
                "ratio": round(median(ratios), 3),
                "floor_is": row["floor_is"],
                "noise": round(noise, 3),
            }
        )
    return found


def check(recorded: list[Row]) -> list[str]:
    """What got worse, in words; empty as soon as a try finds nothing."""
    best: list[Row] = []
    worse: list[str] = []
    for _ in range(TRIES):
        best = best_of(best, measure())
        worse = compare(recorded, best)
        if not worse:
            return []
    return worse


def main() -> None:
    """The command."""
    if "--record" in sys.argv[1:]:
        rows = summed_up([measure() for _ in range(RUNS)])
        RECORDED.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        return
    worse = check(json.loads(RECORDED.read_text(encoding="utf-8")))
    for line in worse:
        sys.stdout.write(f"slower than recorded: {line}\n")
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
