"""Pairs of measurements, one of the base and one of this tree, and what they say about a figure.

Every figure is a cost: time, processor time or memory, so that less is better. A pair is measured on one machine in the
same seconds, and what slows this machine down slows both sides of it: the ratio stays. How far the ratios of the pairs
are apart is the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

LEAST_CHANGE = 0.15
"""A smaller change is never a slow-down: two processes of the same program may differ by half of it."""

SUSPICIOUS_PAIRS, DECISIVE_PAIRS = 3, 6
"""So many raise a suspicion, and so many decide: among all figures, chance makes three agree now and then."""


class Pair(NamedTuple):
    """The cost on both sides."""

    base: float
    this: float

    @property
    def ratio(self) -> float:
        """How many times the base's cost this tree's is."""
        return self.this / self.base


def noise_of(ratios: Sequence[float]) -> float:
    """Return by which part of their median the ratios differ from it, in the mean."""
    middle = median(ratios)
    return sum(abs(ratio / middle - 1) for ratio in ratios) / len(ratios)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pairs of one figure say; `factor` is how much slower it is allowed to be."""

    pairs: tuple[Pair, ...]
    factor: float = 1.0

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return median(pair.ratio for pair in self.pairs)

    @property
    def least(self) -> float:
        """The ratio of the pair that speaks most in favour of this tree."""
        return min(pair.ratio for pair in self.pairs)

    @property
    def noise(self) -> float:
        """How far the pairs' ratios are apart."""
        return noise_of([pair.ratio for pair in self.pairs])

    @property
    def is_suspect(self) -> bool:
        """Whether every pair is slower by more than the noise, and their median by a change that means something."""
        if len(self.pairs) < SUSPICIOUS_PAIRS:
            return False
        limit = self.factor * (1 + self.noise)
        return self.least > limit and self.ratio > max(limit, self.factor * (1 + LEAST_CHANGE))

    @property
    def is_slower(self) -> bool:
        """Whether that is so in enough pairs to be believed."""
        return self.is_suspect and len(self.pairs) >= DECISIVE_PAIRS
