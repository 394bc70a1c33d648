"""Drift is told to webhooks when it is found, once; what the server does itself is no drift."""

import time
from dataclasses import replace

import pytest
from tests.support.memory import World
from tests.support.process import wait_until

from vpnkeys.domain.errors import XrayRefused, XrayUnavailable
from vpnkeys.domain.event import Kind
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.webhook import Webhook, new_webhook


@pytest.fixture
def world() -> World:
    """A server in order."""
    return World()


@pytest.fixture
def webhook(world: World) -> Webhook:
    """Told of drift alone."""
    made = new_webhook("https://example.com", (Kind.DRIFT_FOUND,), world.clock.now())
    with world.store.write() as transaction:
        transaction.outbox.put_webhook(made)
    return made


@pytest.fixture
def key(world: World) -> Key:
    """A key that works."""
    return world.make()


def told(world: World, webhook: Webhook) -> int:
    """How often."""
    return len(world.store.unsettled(webhook.id, 100))


def lose(world: World, key: Key) -> None:
    """Somebody removes the key's inbound from the running Xray."""
    assert world.node.running is not None
    del world.node.running[key.tag]


def test_each_drift_is_told_once(world: World, webhook: Webhook, key: Key) -> None:
    """When it is repaired; nothing to repair is no news, and the same thing again is news again."""
    reconciler = world.keys.reconciler
    reconciler.reconcile()
    for times in (1, 2):
        lose(world, key)
        reconciler.reconcile()
        reconciler.reconcile()
        assert told(world, webhook) == times
    world.node.file = FileView(FileState.MISSING, {})
    reconciler.reconcile()
    assert told(world, webhook) == 3


def test_a_repair_that_has_to_be_tried_again_is_no_further_news(world: World, webhook: Webhook, key: Key) -> None:
    """Only what is found besides is."""
    other = world.make()
    world.node.refuses_all = True
    lose(world, key)
    for _ in range(3):
        with pytest.raises(XrayRefused):
            world.keys.reconciler.reconcile()
    assert told(world, webhook) == 1
    lose(world, other)
    with pytest.raises(XrayRefused):
        world.keys.reconciler.reconcile()
    assert told(world, webhook) == 2


def test_what_is_left_of_a_change_of_ours_is_no_drift(world: World, webhook: Webhook, key: Key) -> None:
    """A key that could not be made, or deleted, and whatever it left behind; what comes after the repair is."""
    world.node.refuses_all = True
    with pytest.raises(XrayRefused):
        world.make()
    world.node.refuses_all = False
    assert world.keys.reconciler.reconcile(), "something was left"
    assert told(world, webhook) == 0
    lose(world, key)
    world.keys.reconciler.reconcile()
    assert told(world, webhook) == 1


def test_an_xray_that_comes_back_is_no_drift(world: World, webhook: Webhook, key: Key) -> None:
    """It has what it should have from its file."""
    world.node.end_xray()
    with pytest.raises(XrayUnavailable):
        world.keys.reconciler.reconcile()
    world.node.start_xray()
    world.keys.reconciler.reconcile()
    assert world.node.connect(key) is not None
    assert told(world, webhook) == 0


def test_drift_is_found_without_being_asked_for(world: World, key: Key) -> None:
    """Every few minutes; here in fractions of a second. What is in order is left alone."""
    repairs: list[None] = []
    reconciler = replace(world.keys.reconciler, on_repaired=lambda: repairs.append(None), look_every_s=0.02)
    reconciler.worker.start()
    reconciler.repair_soon()
    assert wait_until(lambda: bool(repairs))
    time.sleep(0.2)
    assert len(repairs) == 1, "there was nothing to repair"
    lose(world, key)
    assert wait_until(lambda: world.node.running is not None and key.tag in world.node.running)
    assert wait_until(lambda: len(repairs) == 2)
