"""Wrong API keys are counted by source, exactly, in bounded memory."""

from __future__ import annotations

import pytest

from vpnkeys.api.auth.failed_auth import FailedAuthLimiter
from vpnkeys.api.auth.rate_limits import RateLimits
from vpnkeys.api.errors import TooManyRequests


class Clock:
    """Seconds in a test's hand."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_the_window_moves() -> None:
    """So many in any window are let pass; the wait that is told is the one that helps."""
    clock = Clock()
    guesses = FailedAuthLimiter(2, 60.0, clock)
    assert [guesses.note("a"), guesses.note("b")] == [0.0, 0.0]
    clock.now += 20
    assert [guesses.note("a"), guesses.note("a")] == [0.0, 40.0]
    clock.now += 39.9
    assert guesses.note("a") > 0
    clock.now += 0.1
    assert [guesses.note("a"), guesses.note("a")] == [0.0, 20.0]


def test_memory_is_bounded() -> None:
    """Of 100,000 subnets the last 10,000 are remembered; who goes on guessing is not forgotten."""
    guesses = FailedAuthLimiter(10, 60.0, Clock())
    for number in range(100_000):
        guesses.note(f"source {number}")
        guesses.note("busy")
    assert len(guesses) == 10_000
    assert guesses.note("busy") > 0


def test_changing_address_within_a_subnet_does_not_help() -> None:
    """FailedAuthLimiter from a whole /64 count together; another one is let guess."""
    limits = RateLimits({"guess": "10/minute"})
    for host in range(10):
        limits.count_failure(f"2001:db8::{host:x}")
    with pytest.raises(TooManyRequests):
        limits.count_failure("2001:db8::ffff")
    limits.count_failure("2001:db8:0:1::1")


def test_no_limit_is_none() -> None:
    """Where guessing is not limited nobody is refused."""
    limits = RateLimits({})
    for _ in range(100):
        limits.count_failure("192.0.2.1")
