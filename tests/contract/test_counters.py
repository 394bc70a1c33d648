"""Xray's counters, of a real Xray: reading them costs as much as the keys that are left, whatever was deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.many_users import INBOUND, ManyUsers
from tests.support.process import wait_until

from vpnkeys.domain.traffic import Bytes
from vpnkeys.xray.rpc.channel import Channel
from vpnkeys.xray.rpc.control import XrayControl
from vpnkeys.xray.rpc.counters import XrayCounters

pytestmark = pytest.mark.e2e

MANY = 400


@pytest.fixture(scope="module")
def xray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyUsers]:
    """Four hundred users, each of whom was there once."""
    with ManyUsers(tmp_path_factory.mktemp("xray"), MANY) as xray:
        xray.use(*xray.uuids)
        assert wait_until(lambda: len(xray.control.counters("user>>>")) == 2 * MANY)
        yield xray


@pytest.fixture
def counters(xray: ManyUsers) -> Iterator[XrayCounters]:
    """Read as the server does."""
    counters = XrayCounters(xray.api)
    yield counters
    counters.close()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each answer of Xray."""
    sizes: list[int] = []
    call = Channel.call

    def noted(channel: Channel, method: str, request: bytes, timeout_s: float) -> bytes:
        answer = call(channel, method, request, timeout_s)
        sizes.append(len(answer))
        return answer

    monkeypatch.setattr(Channel, "call", noted)
    return sizes


def test_deleted_users_cost_nothing(xray: ManyUsers, counters: XrayCounters, answered: list[int]) -> None:
    """The first reading of a life is of all; then those who are left are asked for, while it is cheaper."""
    left = xray.uuids[:2]
    before = counters.sample(left)
    assert sum(answered) > 50 * MANY
    answered.clear()
    xray.use(left[0])
    grown = before.usage[left[0]]
    assert wait_until(lambda: counters.sample(left).usage[left[0]] == Bytes(grown.up + 100, grown.down + 100))
    answered.clear()
    counters.sample(left)
    assert sum(answered) < 150 * 2 * len(left)
    answered.clear()
    counters.sample(xray.uuids)
    assert len(answered) == 1


def test_both_ways_read_the_same(xray: ManyUsers, counters: XrayCounters) -> None:
    """Also of users who never came, who have no counter."""
    whole = counters.sample()
    asked = [*xray.uuids[:2], "00000000-0000-4000-8000-000000000000"]
    by_itself = counters.sample(asked)
    assert by_itself.usage == {uuid: whole.usage[uuid] for uuid in asked[:2]}
    assert by_itself.epoch == whole.epoch
    with closing(XrayCounters(xray.api)) as fresh:
        assert fresh.sample(asked).usage == by_itself.usage


def test_xray_keeps_what_is_gone(tmp_path: Path) -> None:
    """Neither removing nor a reset ends a counter: why its own memory shrinks only by a restart."""
    with ManyUsers(tmp_path, 3) as xray:
        xray.use(*xray.uuids)
        names = [f"user>>>{uuid}>>>traffic>>>{way}" for uuid in xray.uuids for way in ("uplink", "downlink")]
        assert wait_until(lambda: sorted(xray.control.counters("user>>>")) == sorted(names))
        xray.control.remove(INBOUND)
        assert sorted(xray.control.counters("user>>>")) == sorted(names)
        assert [xray.control.counter(name) for name in names] == [100] * len(names)


def test_a_new_life_is_read_whole_again(xray: ManyUsers, counters: XrayCounters, tmp_path: Path) -> None:
    """What is known of the last life says nothing about this one."""
    counters.sample()
    with ManyUsers(tmp_path, 1) as other:
        other.use(*other.uuids)
        assert wait_until(lambda: len(other.control.counters("user>>>")) == 2)
        counters._api_socket = other.api
        assert counters.sample(other.uuids).usage == {other.uuids[0]: Bytes(100, 100)}
        assert isinstance(counters._control(counters.epoch()), XrayControl)
