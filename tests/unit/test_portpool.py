"""Which port a new key gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnkeys.domain.errors import PortsExhausted
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.keys import lowest_free

POOL = PortRange(10001, 10100)


@given(st.sets(st.integers(9990, 10110)), st.sets(st.integers(9990, 10110)))
def test_the_lowest_port_that_nobody_has(taken: set[int], listening: set[int]) -> None:
    """The port belongs to no key, nothing listens on it, and none below it would do."""
    free = set(POOL.ports) - taken - listening
    if free:
        assert lowest_free(POOL, taken, lambda port: port not in listening, ()) == min(free)
    else:
        with pytest.raises(PortsExhausted):
            lowest_free(POOL, taken, lambda port: port not in listening, ())


@given(st.sets(st.sampled_from(POOL.ports)))
def test_the_host_is_asked_only_about_ports_that_no_key_has(taken: set[int]) -> None:
    """Our own inbounds listen on theirs: to ask about them would be to ask ourselves."""
    asked: list[int] = []

    def never_free(port: int) -> bool:
        asked.append(port)
        return False

    with pytest.raises(PortsExhausted):
        lowest_free(POOL, taken, never_free, ())
    assert asked == [port for port in POOL.ports if port not in taken]


def test_the_101st_key_is_refused() -> None:
    """A hundred ports are a hundred keys; the refusal says what to do."""
    taken: list[int] = []
    for expected in range(10001, 10101):
        taken.append(lowest_free(POOL, taken, lambda _: True, ()))
        assert taken[-1] == expected
    with pytest.raises(PortsExhausted, match="All 100 ports of 10001-10100 are taken") as refused:
        lowest_free(POOL, taken, lambda _: True, ())
    assert refused.value.code == "ports_exhausted"


@given(st.integers(1, 65535), st.integers(1, 65535), st.integers(0, 70000))
def test_a_range_holds_both_its_ends(one: int, other: int, port: int) -> None:
    """Length, membership and the ports themselves tell the same; its text is how it is written in settings."""
    pool = PortRange(min(one, other), max(one, other))
    assert (port in pool) == (port in pool.ports)
    assert len(pool) == len(pool.ports)
    assert pool.first in pool
    assert pool.last in pool
    assert str(pool) == f"{pool.first}-{pool.last}"
