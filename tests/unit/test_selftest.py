"""The self-test's verdicts, on a node in memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.fakes import FakeNode
from tests.support.memory import World

from vpnkeys.domain.errors import SelfTestBusy, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.trial import Egress, Outcome, Trial
from vpnkeys.service.selftest import SelfTest
from vpnkeys.xray.config.document import BaseConfig


class ScriptedNode(FakeNode):
    """A node whose tries end as they are told to."""

    trial: Trial | None = None
    dies: bool = False

    def try_link(self, key: Key) -> Trial:
        """As told, or as it is."""
        if self.dies:
            self.end_xray()
        return self.trial or super().try_link(key)


@pytest.fixture
def world() -> World:
    """A server without keys."""
    return World()


def test_a_key_that_works(world: World) -> None:
    """Bytes came back, and were counted for this key alone."""
    key, other = world.make(), world.make()
    found = SelfTest(world.node).of(key)
    assert (found.works, found.code, found.counted) == (True, "ok", True)
    assert found.trial is not None
    assert world.node.counters[key.uuid].down == found.trial.bytes_received > 0
    assert other.uuid not in world.node.counters


def test_a_test_that_begins_a_keys_time_says_so(world: World) -> None:
    """Once: of a key whose time runs, or that has none, nothing is said, nor where no byte was counted."""
    key = world.make(Limits(expires_after_s=86400))
    told = "begins with this test"
    uncounted = Trial(Outcome.WORKS, "", 0.1, 0.2, 97, Egress(works=True, detail=""))
    assert told not in SelfTest(_node_like(world, uncounted)).of(key).detail
    assert told in SelfTest(world.node).of(key).detail
    world.look()
    begun = world.keys.get(key.id)
    assert begun.limits.expires_at is not None
    assert told not in SelfTest(world.node).of(begun).detail
    assert told not in SelfTest(world.node).of(world.make()).detail


@pytest.mark.parametrize(
    ("limits", "later", "code"),
    [
        (Limits(expires_at=World().clock.now() + timedelta(hours=1)), timedelta(hours=2), "key_expired"),
        (Limits(traffic_bytes=100), timedelta(0), "key_limited"),
    ],
)
def test_a_key_that_may_not_work_is_not_tried(world: World, limits: Limits, later: timedelta, code: str) -> None:
    """It says which limit struck and what lifts it, and sends nothing."""
    key = world.make(limits)
    world.node.carry(world.customer(key), 60, 60)
    world.clock.time += later
    world.look()
    before = dict(world.node.counters)
    found = SelfTest(world.node).of(world.keys.get(key.id))
    assert (found.works, found.code, found.trial, found.counted) == (False, code, None, False)
    assert found.detail
    assert world.node.counters == before


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.WORKS])
def test_each_outcome_has_its_code_and_its_words(world: World, outcome: Outcome) -> None:
    """Each says what to do next, with the port or the reason in it."""
    key = world.make()
    node = _node_like(world, Trial(outcome, "because of this"))
    found = SelfTest(node).of(key)
    assert (found.works, found.code, found.counted) == (False, outcome.value, False)
    assert str(key.port) in found.detail or "because of this" in found.detail
    assert "{" not in found.detail


def test_bytes_that_are_not_counted_are_told(world: World) -> None:
    """The link works, and the operator loses its bytes."""
    trial = Trial(Outcome.WORKS, "", 0.1, 0.2, 97, Egress(works=True, detail=""))
    found = SelfTest(_node_like(world, trial)).of(world.make())
    assert (found.works, found.code, found.counted) == (True, "not_counted", False)


def test_a_way_in_without_a_way_out_is_told(world: World) -> None:
    """The link works as far as the server."""
    trial = Trial(Outcome.WORKS, "", 0.1, 0.2, 0, Egress(works=False, detail="nobody there"))
    found = SelfTest(_node_like(world, trial)).of(world.make())
    assert (found.works, found.code) == (True, "egress_failed")
    assert "nobody there" in found.detail


def test_without_xray_nothing_is_known(world: World) -> None:
    """Down before, or gone meanwhile: unavailable, not a verdict on the key."""
    key = world.make()
    world.node.end_xray()
    with pytest.raises(XrayUnavailable):
        SelfTest(world.node).of(key)
    world.node.start_xray()
    node = _node_like(world, Trial(Outcome.REFUSED))
    node.dies = True
    with pytest.raises(XrayUnavailable):
        SelfTest(node).of(key)


def test_one_test_at_a_time(world: World) -> None:
    """The second is told to come later, and afterwards there is room again."""
    key = world.make()
    test = SelfTest(world.node)
    with test._testing:
        refused: list[BaseException] = []

        def second() -> None:
            with pytest.raises(SelfTestBusy) as error:
                test.of(key)
            refused.append(error.value)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(10)
    assert len(refused) == 1
    assert test.of(key).works


FRAME = BaseConfig(
    "/s", PortRange(1, 2), (("10.0.0.7/32", 443), ("fd00::/8", None)), ("203.0.113.200", "8.8.8.8"), 8000
)


@pytest.mark.parametrize(
    ("address", "port", "out"),
    [
        ("93.184.216.34", 443, True),
        ("2606:2800:220::1", 443, True),
        ("10.0.0.7", 443, True),
        ("10.0.0.7", 80, False),
        ("10.0.0.8", 443, False),
        ("127.0.0.1", 443, False),
        ("::1", 443, False),
        ("::ffff:127.0.0.1", 443, False),
        ("fd00::5", 443, True),
        ("fe80::1", 443, False),
        ("8.8.8.8", 443, False),
        ("8.8.8.8", 8000, True),
    ],
)
def test_what_the_rules_let_out(address: str, port: int, out: bool) -> None:
    """The same addresses as in the routing rules: allowed ones, then private and own ones, then the rest."""
    assert FRAME.lets_out(address, port) is out


def _node_like(world: World, trial: Trial) -> ScriptedNode:
    node = ScriptedNode(**{name: getattr(world.node, name) for name in world.node.__dataclass_fields__})
    node.trial = trial
    return node


def test_the_frame_allows_everything_public_without_own_addresses() -> None:
    """Nothing but private networks is kept from customers then."""
    assert replace(FRAME, own_addresses=()).lets_out("8.8.8.8", 443)
