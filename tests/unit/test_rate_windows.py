"""Requests and wrong API keys are counted by source, exactly, in bounded memory, whatever the time of day does."""

from __future__ import annotations

import time

import pytest
from starlette.types import Scope

from vpnkeys.api.auth.moving_window import MovingWindow
from vpnkeys.api.auth.rate_limits import RateLimits
from vpnkeys.api.errors import TooManyRequests
from vpnkeys.server.requests import _ADDED


class Clock:
    """Seconds in a test's hand."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_the_window_moves() -> None:
    """So many in any window are let pass; the wait that is told is the one that helps."""
    clock = Clock()
    guesses = MovingWindow(2, 60.0, clock)
    assert [guesses.take("a"), guesses.take("b")] == [(True, 1, 60.0), (True, 1, 60.0)]
    clock.now += 20
    assert [guesses.take("a"), guesses.take("a")] == [(True, 0, 40.0), (False, 0, 40.0)]
    clock.now += 39.9
    assert not guesses.take("a").is_within
    clock.now += 0.1
    assert [guesses.take("a"), guesses.take("a")] == [(True, 0, 20.0), (False, 0, 20.0)]


def test_memory_is_bounded() -> None:
    """Of 100,000 subnets the last 10,000 are remembered; who goes on guessing is not forgotten."""
    guesses = MovingWindow(10, 60.0, Clock())
    for number in range(100_000):
        guesses.take(f"source {number}")
        guesses.take("busy")
    assert len(guesses) == 10_000
    assert not guesses.take("busy").is_within


def test_changing_address_within_a_subnet_does_not_help() -> None:
    """Wrong keys from a whole /64 count together; another one is let guess."""
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


@pytest.mark.parametrize("step_s", [-3600.0, -60.0, 3600.0])
def test_a_clock_that_is_set_neither_prolongs_nor_lifts_a_limit(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """After five creates the sixth waits for a minute at most, and is refused, also when the clock was set meanwhile.

    `X-RateLimit-Reset` is the time of day at which it may come, by the clock as it is now.
    """
    limits, scope = RateLimits({"create": "5/minute", "guess": "5/minute"}), _scope()
    for _ in range(5):
        limits.take("create", "a key", scope)
        limits.count_failure("192.0.2.1")
    stepped = time.time() + step_s
    monkeypatch.setattr(time, "time", lambda: stepped)
    with pytest.raises(TooManyRequests) as refused:
        limits.take("create", "a key", scope := _scope())
    assert 50 < refused.value.retry_after_s <= 60
    assert 50 < _reset_at(scope) - stepped <= 61
    with pytest.raises(TooManyRequests) as refused:
        limits.count_failure("192.0.2.1")
    assert 50 < refused.value.retry_after_s <= 60


def _scope() -> Scope:
    return {"type": "http", _ADDED: []}


def _reset_at(scope: Scope) -> int:
    headers = {name.decode(): value.decode() for name, value in scope[_ADDED]}
    return int(headers["x-ratelimit-reset"])
