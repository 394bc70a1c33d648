"""The ratchet on speed: what is worse than recorded is seen, noise and what got better are not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.bench import ratchet
from tests.bench.book import Figure, Spread
from tests.bench.compare import compare


def row(name: str, ratio: float, better: str = "lower", noise: float = 0.1) -> dict[str, Any]:
    """A figure as it is kept."""
    return {"name": name, "ratio": ratio, "better": better, "noise": noise, "floor_is": "nothing"}


@pytest.mark.parametrize(
    ("new", "is_worse"),
    [
        (row("a", 2.0), False),
        (row("a", 2.4), False),
        (row("a", 2.6), True),
        (row("a", 2.6, noise=0.4), False),
        (row("a", 1.0), False),
        (row("another", 9.0), False),
    ],
)
def test_only_what_is_worse_than_noise_counts(new: dict[str, Any], is_worse: bool) -> None:
    """A quarter at least, or what both runs moved by themselves."""
    assert bool(compare([row("a", 2.0)], [new])) is is_worse


def test_of_rates_more_is_better() -> None:
    """A rate that fell is worse, one that rose is not."""
    old = [row("rate", 0.8, "higher")]
    assert compare(old, [row("rate", 0.4, "higher")])
    assert not compare(old, [row("rate", 1.6, "higher")])


def test_one_bad_try_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of three is compared, figure by figure."""
    tries = [[row("a", 9.0), row("b", 2.0)], [row("a", 2.0), row("b", 9.0)]]
    monkeypatch.setattr(ratchet, "measure", lambda: tries.pop(0))
    assert ratchet.check([row("a", 2.0), row("b", 2.0)]) == []
    assert tries == []


def test_what_stays_slow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three tries."""
    monkeypatch.setattr(ratchet, "measure", lambda: [row("a", 4.0), row("b", 2.0)])
    (told,) = ratchet.check([row("a", 2.0), row("b", 2.0)])
    assert told.startswith("a: 2.00 × its floor before, 4.00 now")


def test_what_is_recorded_is_the_median_and_how_far_runs_are_apart() -> None:
    """Of five runs."""
    (found,) = ratchet.summed_up([[row("a", ratio)] for ratio in (2.0, 3.0, 2.5, 2.2, 2.4)])
    assert (found["ratio"], found["noise"]) == (2.4, 0.5)


def test_a_figure_knows_its_ratio_and_its_goal() -> None:
    """Lower or higher, as it says."""
    slow = Figure("x", 6.0, "ms", "lower", 4.0, floor=2.0)
    fast = Figure("y", 8.0, "1/s", "higher", 4.0, floor=2.0)
    assert (slow.ratio, slow.is_met, fast.is_met) == (3.0, False, True)
    assert Spread.of([1.0, 2.0, 3.0]).p50 == 2.0
