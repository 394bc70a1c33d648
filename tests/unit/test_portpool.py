"""Which port a new key gets."""

from collections.abc import Callable
from datetime import datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnkeys.domain.change import Snapshot, Stop
from vpnkeys.domain.errors import NodeRefused, PortsExhausted, XrayUnavailable
from vpnkeys.domain.nodes import LOCAL, NodeRef
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.keys import lowest_free, ports_for

POOL = PortRange(10001, 10100)
NOON = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
FAR = NodeRef(7, "far")


def seen(
    is_free: Callable[[int], bool] = lambda _port: True, pending: tuple[int, ...] = (), node: NodeRef = LOCAL
) -> Snapshot:
    """A host without a key; these ports are free once a stop is confirmed."""
    stops = tuple(Stop(f"gone-{port}", str(port), port, NOON) for port in pending)
    return Snapshot((), (), stops, NOON, lambda _since: {}, is_free, Random(1), node)  # noqa: S311 - a test repeats


@given(st.sets(st.integers(9990, 10110)), st.sets(st.integers(9990, 10110)), st.integers(1, 3))
def test_the_lowest_ports_that_nobody_has(taken: set[int], listening: set[int], wanted: int) -> None:
    """The ports belong to no key, nothing listens on them, and none below them would do."""
    free = sorted(set(POOL.ports) - taken - listening)
    here = seen(lambda port: port not in listening)
    if len(free) >= wanted:
        assert lowest_free(POOL, wanted, taken, here) == tuple(free[:wanted])
    else:
        with pytest.raises(PortsExhausted):
            lowest_free(POOL, wanted, taken, here)


@given(st.sets(st.sampled_from(POOL.ports)))
def test_the_host_is_asked_only_about_ports_that_no_key_has(taken: set[int]) -> None:
    """Our own inbounds listen on theirs: to ask about them would be to ask ourselves."""
    asked: list[int] = []

    def never_free(port: int) -> bool:
        asked.append(port)
        return False

    with pytest.raises(PortsExhausted):
        lowest_free(POOL, 1, taken, seen(never_free))
    assert asked == [port for port in POOL.ports if port not in taken]


def test_the_101st_key_is_refused() -> None:
    """A hundred ports are a hundred keys; the refusal says what to do."""
    taken: list[int] = []
    for expected in range(10001, 10101):
        taken += lowest_free(POOL, 1, taken, seen())
        assert taken[-1] == expected
    with pytest.raises(PortsExhausted, match="All 100 ports of 10001-10100 are taken") as refused:
        lowest_free(POOL, 1, taken, seen())
    assert refused.value.code == "ports_exhausted"


def test_too_many_at_once_are_told_how_many_are_free() -> None:
    """Not that all are taken: fewer could be made now."""
    is_free = (10024).__le__
    with pytest.raises(PortsExhausted, match=r"^77 of the 100 ports of 10001-10100 are free, and 101 are needed; ask"):
        ports_for(POOL, seen(is_free), [None] * 101)
    with pytest.raises(PortsExhausted, match=r"^76 of the 100 ports .* and 77 are needed; ask"):
        ports_for(POOL, seen(is_free), [10024, *[None] * 77])
    with pytest.raises(PortsExhausted, match=r"^77 of the 100 ports of 10001-10100 on node far are free, and 101 are"):
        ports_for(POOL, seen(is_free, node=FAR), [None] * 101)
    with pytest.raises(XrayUnavailable, match=r"^75 of the 100 .* and 101 are needed now: 2 are reserved until Xray"):
        ports_for(POOL, seen(is_free, pending=(10030, 10031)), [None] * 101)
    with pytest.raises(NodeRefused, match=r"^75 of the 100 .* on node far .* needed now \(port_reserved\): 2 are"):
        ports_for(POOL, seen(is_free, pending=(10030, 10031), node=FAR), [None] * 101)
    with pytest.raises(XrayUnavailable, match=r"^No port of 10001-10001 is free now: 1 are reserved"):
        ports_for(PortRange(10001, 10001), seen(pending=(10001,)), [None])


@given(st.integers(1, 65535), st.integers(1, 65535), st.integers(0, 70000))
def test_a_range_holds_both_its_ends(one: int, other: int, port: int) -> None:
    """Length, membership and the ports themselves tell the same; its text is how it is written in settings."""
    pool = PortRange(min(one, other), max(one, other))
    assert (port in pool) == (port in pool.ports)
    assert len(pool) == len(pool.ports)
    assert pool.first in pool
    assert pool.last in pool
    assert str(pool) == f"{pool.first}-{pool.last}"
