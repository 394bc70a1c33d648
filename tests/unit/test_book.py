"""The book of a benchmark: figures, their goals and their floors."""

from __future__ import annotations

import pytest
from tests.bench.book import Figure, Spread, legend
from tests.bench.test_weight import libraries


def test_a_figure_knows_its_ratio_its_goal_and_its_floor() -> None:
    """Lower or higher, as it says; a floor that nobody explains is refused."""
    slow = Figure("x", 6.0, "ms", "lower", 4.0, floor=2.0, floor_is="the sample")
    fast = Figure("y", 8.0, "1/s", "higher", 4.0)
    assert (slow.ratio, slow.is_met, fast.is_met) == (3.0, False, True)
    assert Spread.of([1.0, 2.0, 3.0]).p50 == 2.0
    assert legend([slow, fast, slow]) == ["the sample: Xray's answer about the counters alone; nothing is written"]
    with pytest.raises(ValueError, match="say in FLOORS"):
        Figure("z", 1.0, "ms", floor=1.0, floor_is="thin air")


def test_the_libraries_of_the_floor_are_there() -> None:
    """What the service's weight is compared with still imports: a library that the project gave up is in no floor."""
    took_s, memory_mb = libraries()
    assert took_s > 0
    assert memory_mb > 10
