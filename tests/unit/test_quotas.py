"""The watch of traffic limits: less than a second of traffic passes beyond, at any speed; what is far costs nothing."""

import math
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import World

from vpnkeys.domain.errors import StoreUnavailable, Unavailable, XrayUnavailable
from vpnkeys.domain.limits import Limits, Status, look_again_in
from vpnkeys.domain.traffic import Samples
from vpnkeys.service.limits.striking import enforce_limits

MB = 1_000_000
GB = 1000 * MB


@pytest.fixture
def world() -> World:
    """A server without keys."""
    return World()


def watch(
    world: World, rate_at: Callable[[float], float], limit: int, for_s: float = 60.0
) -> tuple[float, list[float]]:
    """Let a customer download at the rate of each moment, as looks come when they are asked for.

    Returns for how long traffic passed beyond the limit, and the moments of the looks.
    """
    key = world.make(Limits(traffic_bytes=limit))
    connection = world.customer(key)
    now, carried, reached, looks = world.waiting.time, 0.0, None, []
    begin = now
    while now - begin < for_s:
        wait_s = world.quotas.look()
        looks.append(now - begin)
        if not connection.is_open:
            break
        for _ in range(math.ceil(wait_s * 100 + 1e-6)):
            before = int(carried)
            carried += rate_at(now - begin) * 0.01
            world.node.carry(connection, 0, int(carried) - before)
            now += 0.01
            if reached is None and carried >= limit:
                reached = now
        world.waiting.time = now
    assert (world.status(key) is Status.LIMITED) == (reached is not None)
    return (0.0 if reached is None else now - reached), looks


@pytest.mark.parametrize("rate", [MB / 10, 3 * MB, 25 * MB, 105 * MB, 1.25 * GB])
@pytest.mark.parametrize("limit", [10 * MB, 400 * MB, 5 * GB])
@pytest.mark.parametrize("idle_s", [0.0, 3.33, 7.77])
def test_less_than_a_second_passes_beyond(world: World, rate: float, limit: int, idle_s: float) -> None:
    """From the first moment on, or by a customer who was idle before."""
    beyond_s, _ = watch(world, lambda at: rate if at >= idle_s else 0.0, limit)
    assert beyond_s <= 0.55


def test_a_steady_download_is_stopped_within_a_look(world: World) -> None:
    """The nearer the limit, the shorter the look: a tenth of a second is left of the half."""
    beyond_s, looks = watch(world, lambda _: 25 * MB, 100 * MB)
    assert beyond_s <= 0.15
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps[1] > 0.4
    assert min(gaps) == pytest.approx(0.1, abs=0.03)
    assert len(looks) < 20


@given(st.integers(-(10**9), 10**14), st.floats(-1e10, 1e10))
def test_a_look_is_never_late(left: int, rate: float) -> None:
    """At this rate, or at the greatest, the limit is passed for half a second at most."""
    wait_s = look_again_in(left, rate)
    assert 0.1 <= wait_s <= 2.0
    assert wait_s - max(0, left) / 1.25e9 <= 0.5
    if rate > 0 and left > 0:
        assert wait_s - left / rate <= 0.1


def test_idle_keys_cost_no_read_of_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their counters are read, and nothing more; those that are far from their limits wait for two seconds."""
    near, far = world.make(Limits(traffic_bytes=MB)), world.make(Limits(traffic_bytes=10**12))
    world.node.carry(world.customer(near), 0, 10)
    world.node.carry(world.customer(far), 0, 10)
    world.quotas.look()
    monkeypatch.setattr(type(world.store), "used_bytes", lambda *_: pytest.fail("read"))
    writes = world.store.writes
    for _ in range(10):
        world.waiting.time += 0.5
        world.quotas.look()
    assert world.store.writes == writes


def test_without_traffic_limits_xray_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for keys that are stopped."""
    world.make(Limits(max_devices=1))
    limited = world.make(Limits(traffic_bytes=100))
    world.node.carry(world.customer(limited), 0, 100)
    world.quotas.look()
    assert world.status(limited) is Status.LIMITED
    monkeypatch.setattr(type(world.node), "sample", lambda *_: pytest.fail("asked"))
    world.waiting.time += 5
    assert world.quotas.look() == 0.5


def test_a_limit_that_is_lowered_or_reset_is_looked_at_anew(world: World) -> None:
    """At once, although no look was due; a reset begins from zero."""
    key = world.make(Limits(traffic_bytes=10**12))
    connection = world.customer(key)
    world.node.carry(connection, 0, 500)
    world.quotas.look()
    world.enforcer.traffic.reset(key)
    world.node.carry(connection, 0, 99)
    world.limit(key, Limits(traffic_bytes=100))
    world.quotas.look()
    assert world.status(key) is Status.ACTIVE
    world.node.carry(connection, 1, 0)
    world.waiting.time += 0.5
    world.quotas.look()
    assert (world.status(key), connection.is_open) == (Status.LIMITED, False)


def test_what_was_used_is_stored_with_the_stop(world: World) -> None:
    """Otherwise the next check, which reads what is stored, would start the key again."""
    key = world.make(Limits(traffic_bytes=100))
    world.node.carry(world.customer(key), 0, 150)
    world.quotas.look()
    assert world.store.traffic(key.uuid).total_bytes == 150
    enforce_limits(world.keys.changer)
    assert world.status(key) is Status.LIMITED


def test_a_database_that_takes_nothing_lets_nobody_go_on(world: World) -> None:
    """The key stops in the running Xray, and stays stopped, also when the database works again."""
    key = world.make(Limits(traffic_bytes=100))
    connection = world.customer(key)
    world.node.carry(connection, 0, 150)
    world.store.memory.is_full = True
    world.quotas.look()
    assert not connection.is_open
    assert world.node.connect(key) is None
    world.store.memory.is_full = False
    world.keys.reconciler.reconcile()
    world.look()
    assert (world.status(key), world.node.connect(key)) == (Status.LIMITED, None)


def test_an_xray_that_dies_with_the_strike_gives_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look that showed the limit reached is what its counters are known from; the next Xray begins at zero."""
    key = world.make(Limits(traffic_bytes=100))
    world.node.carry(world.customer(key), 0, 150)
    readings = [world.node.sample()]

    def die(*_: object) -> Samples:
        world.node.end_xray()
        if not readings:
            raise XrayUnavailable("dead")
        return readings.pop()

    with monkeypatch.context() as crash, suppress(Unavailable):
        crash.setattr(type(world.node), "sample", die)
        world.quotas.look()
    world.node.start_xray()
    world.keys.reconciler.reconcile()
    world.look()
    assert world.store.traffic(key.uuid).total_bytes == 150
    assert (world.status(key), world.node.connect(key)) == (Status.LIMITED, None)


def _fail(*_: object) -> None:
    raise StoreUnavailable("locked")


def test_a_strike_that_fails_is_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though not a byte more passes, and whatever the trouble was."""
    key = world.make(Limits(traffic_bytes=100))
    world.node.carry(world.customer(key), 0, 100)
    with monkeypatch.context() as trouble:
        trouble.setattr("vpnkeys.service.limits.quotas.enforce_limits", _fail)
        with pytest.raises(StoreUnavailable):
            world.quotas.look()
    assert world.status(key) is Status.ACTIVE
    world.waiting.time += 0.5
    world.quotas.look()
    assert world.status(key) is Status.LIMITED


def test_a_new_life_of_xray_counts_on(world: World) -> None:
    """What was merged of the old one and the counters of the new one add up."""
    key = world.make(Limits(traffic_bytes=100))
    world.node.carry(world.customer(key), 0, 60)
    world.look()
    world.node.start_xray()
    connection = world.customer(key)
    world.node.carry(connection, 0, 39)
    world.waiting.time += 0.5
    world.quotas.look()
    assert connection.is_open
    world.node.carry(connection, 0, 1)
    world.waiting.time += 0.5
    world.quotas.look()
    assert not connection.is_open


def test_many_quotas_are_one_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement is a round trip to the database, and sellers have thousands of keys."""
    keys = [world.make(Limits(traffic_bytes=100)) for _ in range(3)]
    for key in keys:
        world.node.carry(world.customer(key), 0, 10)
    reads: list[int] = []
    read = world.store.used_bytes

    def counted(_: object, since: dict[str, object], fresh: Samples | None = None) -> object:
        reads.append(len(since))
        return read(since, fresh)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.store), "used_bytes", counted)
    world.quotas.look()
    world.look()
    assert reads == [3, 3]
    world.look()
    assert reads == [3, 3], "nobody has used anything since"
    world.node.carry(world.customer(keys[1]), 0, 10)
    world.look()
    assert reads == [3, 3, 1]
