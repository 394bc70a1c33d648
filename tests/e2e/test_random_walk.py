"""An hour of faults in any order, with any changes in them: what was answered in the first minute is true in the last.

`WALK_SECONDS` sets another length, `WALK_SEED` walks the way of an earlier run again; both are printed.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.changes import CHANGES, Change
from tests.support.clients import XrayClient
from tests.support.episodes import Episode, Far, get_in
from tests.support.faults import FAULTS, Scene
from tests.support.keys import Key, delete_key, link_of, list_keys, make_key
from tests.support.link import VlessLink
from tests.support.scenes import running_scene, why_not
from tests.support.streams import ByteServer, Echo
from tests.support.target import RealityTarget

SECONDS = float(os.environ.get("WALK_SECONDS", "3600"))
SEED = int(os.environ.get("WALK_SEED") or random.SystemRandom().randrange(2**32))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.soak,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(SECONDS + 900),
]

_TAIL_LINES = 400
MOST_KEYS = 10
MOST_CHANGES = 4
MOST_STOPPED = 8


@dataclass
class Walk:
    """All that was promised so far: the status of each key, and links by which nobody gets in any more."""

    scene: Scene
    far: Far
    chance: random.Random
    steady: Key
    statuses: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    stopped: deque[VlessLink] = field(default_factory=lambda: deque(maxlen=MOST_STOPPED))

    def step(self) -> None:
        """Live through one fault, and see that everything of before still holds."""
        fault = self.chance.choice([*FAULTS])
        names = self.chance.sample([*CHANGES], self.chance.randint(1, MOST_CHANGES))
        sys.stdout.write(f"{fault}: {', '.join(names)}\n")
        sys.stdout.flush()
        service = self.scene.service
        service.wait_ready()
        changes = [CHANGES[name](service) for name in names]
        Episode(self.scene, FAULTS[fault], changes, self.steady, self.far).live_through()
        found = {key["id"]: key["status"] for key in list_keys(service)}
        assert {key_id: found.get(key_id) for key_id in self.statuses} == self.statuses
        assert self.gone.isdisjoint(found)
        self.statuses = found
        self.stopped += [
            change.link for change in changes if change.link and change.found(list_keys(service)) != "active"
        ]
        self._assert_who_gets_in()
        self._delete_the_oldest()

    def _assert_who_gets_in(self) -> None:
        active = [
            link_of(self.scene.service, {"id": key_id}) for key_id, is_ in self.statuses.items() if is_ == "active"
        ]
        with XrayClient.many([*active, *self.stopped]) as client:
            assert get_in(client.proxies, self.far) == [True] * len(active) + [False] * len(self.stopped)

    def _delete_the_oldest(self) -> None:
        """Make room for the next step; what is deleted stays so."""
        for key_id in [key_id for key_id in self.statuses if key_id != self.steady["id"]][:-MOST_KEYS]:
            self.stopped.append(link_of(self.scene.service, {"id": key_id}))
            delete_key(self.scene.service, {"id": key_id})
            self.gone.add(key_id)
            del self.statuses[key_id]


def _is_active(change: Change, statuses: dict[str, str]) -> bool:
    return change.key is not None and statuses.get(change.key["id"]) == "active"


@pytest.fixture
def walk(tmp_path_factory: pytest.TempPathFactory, byte_server: ByteServer, echo: Echo) -> Iterator[Walk]:
    """At its beginning."""
    egress = [byte_server.egress_rule, echo.egress_rule]
    with (
        RealityTarget(("one.example.com", "two.example.com"), close_idle_s=0.1) as target,
        running_scene(tmp_path_factory.mktemp("scene"), target, egress) as scene,
    ):
        yield Walk(scene, Far(byte_server, echo), random.Random(SEED), make_key(scene.service, "steady"))  # noqa: S311


def test_a_random_walk(walk: Walk) -> None:
    """Step by step until the time is over."""
    sys.stdout.write(f"\nWALK_SEED={SEED} WALK_SECONDS={SECONDS:g}\n")
    ends = time.monotonic() + SECONDS
    try:
        while time.monotonic() < ends:
            walk.step()
    finally:
        # What led to a failure is hours of work away otherwise: a walk meets it once.
        sys.stdout.write("".join(walk.scene.service.log().splitlines(keepends=True)[-_TAIL_LINES:]))
    assert "Traceback" not in walk.scene.service.log()
