"""Compare two runs: `python -m tests.bench.compare OLD NEW` ends with 1 when a ratio got worse beyond noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LEAST_NOISE = 0.25
"""Whatever the floors say: two runs on a machine that others share differ by this much."""


def worse(old: dict[str, Any], new: dict[str, Any]) -> float:
    """By which part the ratio of a figure got worse; negative when it got better."""
    before, after = old["ratio"], new["ratio"]
    change = float(after / before - 1)
    return change if new["better"] == "lower" else -change


def compare(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    """The figures whose ratio got worse by more than the noise of both runs, in words."""
    known = {figure["name"]: figure for figure in old if figure["ratio"]}
    found = []
    for figure in new:
        before = known.get(figure["name"])
        if before is None or not figure["ratio"]:
            continue
        allowed = max(LEAST_NOISE, before["noise"] + figure["noise"])
        if worse(before, figure) > allowed:
            found.append(
                f"{figure['name']}: {before['ratio']:.2f} × its floor before, {figure['ratio']:.2f} now "
                f"(more than the noise of {allowed:.0%})"
            )
    return found


def main() -> None:
    """The command."""
    old, new = (json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:3])
    found = compare(old, new)
    for line in found:
        sys.stdout.write(f"{line}\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
