"""Every fault, and every change while it lasts: answers stay true, stopped keys stay out, all agree soon after it.

By default each fault comes once, with three changes at a time: over seven faults, any two changes meet in one of them.
What a change would find out is named without one, too.
`./test --soak` makes each change alone in each fault.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import pytest
from tests.support.changes import CHANGES
from tests.support.episodes import NAMED_WITHIN_S, RIGHT_WITHIN_S, Episode, Far, problems
from tests.support.faults import FAULTS, Fault, Scene
from tests.support.keys import list_keys, make_key
from tests.support.process import wait_until
from tests.support.scenes import running_scene, why_not
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

TOGETHER = (0, 1, 3)
"""Differences of these three, modulo seven, are all numbers from one to six: each pair of changes once in seven."""

_NAMES = list(CHANGES)
_SHORT = [name for name, fault in FAULTS.items() if not fault.is_long]
CASES = [(fault, [_NAMES[(at + step) % len(_NAMES)] for step in TOGETHER]) for at, fault in enumerate(_SHORT)]


@pytest.fixture(scope="module")
def far(byte_server: ByteServer, echo: Echo) -> Far:
    """What customers connect to."""
    return Far(byte_server, echo)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, far: Far) -> Iterator[Scene]:
    """One service for all of this file; its target is its own, because it is stopped."""
    egress = [far.byte_server.egress_rule, far.echo.egress_rule]
    with (
        RealityTarget(("one.example.com", "two.example.com"), close_idle_s=0.1) as target,
        running_scene(tmp_path_factory.mktemp("scene"), target, egress) as scene,
    ):
        yield scene


def _live_through(scene: Scene, far: Far, fault: Fault, changes: Sequence[str]) -> None:
    """Begin with one key, whatever an earlier test has left."""
    scene.service.wait_ready()
    if ids := [key["id"] for key in list_keys(scene.service)]:
        scene.service.client.post("/api/keys/bulk/delete", json={"ids": ids}).raise_for_status()
    steady = make_key(scene.service, "steady")
    made = [CHANGES[name](scene.service) for name in changes]
    Episode(scene, fault, made, steady, far).live_through()


@pytest.mark.parametrize(("fault", "changes"), CASES, ids=_SHORT)
def test_three_changes_in_each_fault(scene: Scene, far: Far, fault: str, changes: list[str]) -> None:
    """Those faults that do not take long to be noticed."""
    _live_through(scene, far, FAULTS[fault], changes)


@pytest.mark.parametrize("fault", ["target dead", "DNS dead"])
def test_a_dead_name_is_named_though_no_key_is_made(scene: Scene, far: Far, fault: str) -> None:
    """Within fifteen seconds, as a name that new keys may not have and as one that a key has; soon after it is well."""
    codes, ended = FAULTS[fault].codes, [0.0]

    @contextmanager
    def until_both_are_named(scene: Scene) -> Iterator[None]:
        with FAULTS[fault].during(scene):
            assert wait_until(lambda: codes <= problems(scene.service), NAMED_WITHIN_S * slowness())
            yield
        ended.append(time.monotonic())

    _live_through(scene, far, replace(FAULTS[fault], during=until_both_are_named), [])
    left_s = ended[-1] + RIGHT_WITHIN_S * slowness() - time.monotonic()
    assert wait_until(lambda: not codes & problems(scene.service), left_s)


@pytest.mark.soak
@pytest.mark.parametrize(("fault", "change"), [*product(FAULTS, CHANGES)])
def test_each_change_in_each_fault(scene: Scene, far: Far, fault: str, change: str) -> None:
    """All of them, one by one."""
    _live_through(scene, far, FAULTS[fault], [change])
