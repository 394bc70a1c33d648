"""No slower than before: the base's service and this tree's are measured in turn on this machine in the same minutes.

`python -m tests.bench.ratchet [--base REV]` ends with 1 when this tree is slower by more than the noise in every pair
of measurements of a figure, and `allowed.toml` does not allow it. What looks slower is measured again before it is
believed. Without --base, the base is VPNKEYS_RATCHET_BASE; else the commit in which this branch left origin/main; else
the commit before. It takes four minutes at most. A base that cannot be measured decides nothing, and is said.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType

from tests.bench.allowed import ALLOWED, AllowedError, project_version, read_allowed
from tests.bench.drive import FIGURES, Duel, SideError
from tests.bench.pairs import SUSPICIOUS_PAIRS, Pair, Verdict
from tests.bench.trees import NoBaseError, base_tree, choose_base, find_commits, is_alike, this_tree
from tests.support.target import RealityTarget

PAIRS, MORE_PAIRS = 6, 6
PAIRS_S, MORE_PAIRS_S, LIMIT_S = 165.0, 215.0, 225.0
"""Until when the pairs have to be there, and those of a second look; then what runs is cut off, to end within 240 s."""

NAMES = ("one.example.com", "two.example.com", "three.example.com")


class TimeIsUp(BaseException):
    """The limit is reached; not an Exception, so that nothing on the way takes it for a failure of its own."""


@dataclass(slots=True)
class Record:
    """All pairs so far."""

    factors: dict[str, float]
    pairs: dict[str, list[Pair]] = field(default_factory=lambda: {name: [] for name in FIGURES})

    def verdicts(self) -> dict[str, Verdict]:
        """What they say, figure by figure."""
        return {name: Verdict(tuple(pairs), self.factors.get(name, 1.0)) for name, pairs in self.pairs.items() if pairs}

    def suspects(self) -> list[str]:
        """The figures that look slower than allowed."""
        return [name for name, verdict in self.verdicts().items() if verdict.is_suspect]

    def slower(self) -> list[str]:
        """The figures that are slower than allowed."""
        return [name for name, verdict in self.verdicts().items() if verdict.is_slower]

    def undecided(self) -> list[str]:
        """The figures with too few pairs to know."""
        suspects = set(self.suspects()) - set(self.slower())
        return [name for name, pairs in self.pairs.items() if len(pairs) < SUSPICIOUS_PAIRS or name in suspects]


class Budget:
    """The time there is."""

    def __init__(self) -> None:
        """Begin now."""
        self._began = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def rounds(self, count: int, until_s: float) -> Iterator[int]:
        """Count, as long as one more round like the longest one would end in time."""
        longest = 0.0
        for number in range(count):
            began = self.spent
            if began + longest > until_s:
                return
            yield number
            longest = max(longest, self.spent - began)


def say(line: str) -> None:
    """Print at once: what runs in CI is read while it runs."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def row(name: str, verdict: Verdict) -> str:
    """Return a line of the table."""
    base, this = (median(cost) for cost in zip(*verdict.pairs, strict=True))
    ratios = " ".join(f"{pair.ratio:5.2f}" for pair in verdict.pairs)
    allowed = "" if verdict.factor == 1 else f"  (allowed: {verdict.factor:g})"
    costs = f"{base:10.3f}{this:10.3f} {FIGURES[name]:<3}"
    return f"{name:<32}{costs}{verdict.ratio:7.2f}   ±{verdict.noise:4.0%}   {ratios}{allowed}"


def compare(duel: Duel, record: Record, budget: Budget) -> None:
    """Take the pairs; then more of what looks slower."""
    _take(duel, record, list(FIGURES), budget, budget.rounds(PAIRS, PAIRS_S))
    if suspects := record.suspects():
        say(f"measured again, because they look slower: {'; '.join(suspects)}")
        _take(duel, record, suspects, budget, budget.rounds(MORE_PAIRS, MORE_PAIRS_S))


def _take(duel: Duel, record: Record, figures: Sequence[str], budget: Budget, rounds: Iterator[int]) -> None:
    for _ in rounds:
        for name, pair in duel.pairs(figures):
            record.pairs[name].append(pair)
        say(f"{budget.spent:5.0f} s: a pair of {len(figures)} figures is measured")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp inside when it takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vpnkeys-ratchet-", ignore_cleanup_errors=True)


def run(base: str, factors: dict[str, float]) -> int:
    """Compare, print the table, and return the exit code; raises NoBaseError."""
    record, budget = Record(factors), Budget()
    with suppress(TimeIsUp), limited(LIMIT_S), _directory() as name:
        trees = base_tree(base, Path(name) / "base"), this_tree(Path(name))
        say(f"{trees[0].name} ({base}) and {trees[1].name}, in turn")
        try:
            with RealityTarget(NAMES, close_idle_s=0.1) as target, Duel(*trees, target) as duel:
                compare(duel, record, budget)
        except SideError as error:
            if error.tree is trees[0]:
                raise NoBaseError(str(error)) from error
            say(f"This tree does not do what its base does: {error}")
            return 1
    return told(record)


def told(record: Record) -> int:
    """Print what was found, and return the exit code."""
    verdicts = record.verdicts()
    say(f"{'figure (less is better)':<32}{'base':>10}{'this':>10}    {'ratio':>7}   noise   ratio of each pair")
    for name, verdict in verdicts.items():
        say(row(name, verdict))
    undecided = record.undecided()
    if len(undecided) == len(FIGURES):
        say("Nothing is decided: this machine was too busy for enough pairs in the time there is.")
        return 0
    if undecided:
        say(f"Undecided, for want of pairs in the time there is: {'; '.join(undecided)}")
    for name in record.slower():
        verdict = verdicts[name]
        say(
            f"SLOWER: {name}: {verdict.ratio:.2f} times the base's cost, at least {verdict.least:.2f} in each of "
            f"{len(verdict.pairs)} pairs, noise {verdict.noise:.0%}. Make it as quick as it was, or add it to "
            f"{ALLOWED.name} with the reason."
        )
    if not record.slower():
        say(f"Nothing {'else ' if undecided else ''}is slower by more than the noise.")
    return 1 if record.slower() else 0


def main(arguments: Collection[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ratchet", description=__doc__.partition("\n")[0])
    wanted = os.environ.get("VPNKEYS_RATCHET_BASE", "")
    parser.add_argument("--base", default=wanted, help="the revision to compare with")
    asked: str = parser.parse_args(arguments if arguments is None else list(arguments)).base
    try:
        factors = read_allowed(ALLOWED.read_text(encoding="utf-8"), FIGURES, project_version())
        base = choose_base(asked, find_commits())
        if not asked and is_alike(base):
            say(f"No speed to compare: the service is the same as in {base[:10]}.")
            return 0
        return run(base, factors)
    except AllowedError as error:
        say(str(error))
        return 2
    except NoBaseError as error:
        say(f"Speed is not compared, because the base cannot be measured: {error}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
