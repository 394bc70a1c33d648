"""Telling webhooks: each event at least once and in order, whoever fails, and whenever anybody dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.contract.test_store import add, key
from tests.fake_store import FakeStore, Memory
from tests.fakes import Crash, FakeClock
from tests.support.process import wait_until

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.event import Kind
from vpnkeys.domain.webhook import TRIED_FOR, Delivery, SendResult, Webhook, new_webhook
from vpnkeys.service.sender import Sender
from vpnkeys.service.webhooks import WebhookService


def now() -> datetime:
    """The real time, as the store has it."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass
class Receivers:
    """All receivers, by URL: what each has got, how each answers, and who dies when."""

    got: dict[str, list[str]] = field(default_factory=dict)
    answers: dict[str, SendResult] = field(default_factory=dict)
    dies: bool = False
    hangs: set[str] = field(default_factory=set)

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> SendResult:
        """One try. What is refused may have been taken all the same."""
        assert headers["X-Vpnkeys-Delivery"] == json.loads(body)["id"]
        if url in self.hangs:
            await asyncio.Event().wait()
        self.got.setdefault(url, []).append(headers["X-Vpnkeys-Delivery"])
        if self.dies:
            self.dies = False
            raise Crash
        return self.answers.get(url, SendResult(200))


def put(store: FakeStore, webhook: Webhook) -> None:
    """Add or change."""
    with store.write() as transaction:
        transaction.outbox.put_webhook(webhook)


def finish(work: Coroutine[None, None, None]) -> None:
    """Run what waits for nothing; an event loop for each would take most of the time."""
    with suppress(StopIteration):
        work.send(None)
        raise AssertionError("it waits")


class Telling(RuleBasedStateMachine):
    """Three receivers, which fail at random, and one sender, which dies at random."""

    @initialize()
    def begin(self) -> None:
        """Nothing has happened."""
        self.memory, self.clock, self.receivers, self.keys = Memory(), FakeClock(now()), Receivers(), 0
        self.told: dict[str, dict[int, Delivery]] = {}
        self.restart()
        for name in ("every", "created", "other"):
            events = (Kind.KEY_CREATED,) if name == "created" else ()
            webhook = replace(new_webhook(f"https://{name}.example/", events, self.clock.now()), id=name)
            put(self.store, webhook)
            self.told[name] = {}

    def restart(self) -> None:
        """A new life of the sender: all it knows is in the database."""
        self.store = FakeStore(self.memory)
        self.sender = Sender(self.store, self.receivers.post, self.clock, chance=lambda: 0.5)

    def hooks(self) -> list[Webhook]:
        """All of them."""
        return list(self.store.webhooks())

    @rule(count=st.integers(1, 3))
    def keys_are_made(self, count: int) -> None:
        """One event each."""
        made = [key(self.keys + number) for number in range(count)]
        add(self.store, *made)
        self.keys += count

    @rule()
    def a_key_goes(self) -> None:
        """If there is one."""
        with self.store.write() as transaction:
            for one in transaction.keys()[:1]:
                transaction.delete(one.id)

    @rule(name=st.sampled_from(["every", "created", "other"]), status=st.sampled_from([None, 200, 302, 404, 500]))
    def a_receiver_changes_its_mind(self, name: str, status: int | None) -> None:
        """Down, well, moved, confused."""
        self.receivers.answers[f"https://{name}.example/"] = SendResult(status, "" if status else "down")

    @rule(seconds=st.sampled_from([0.5, 2, 60, 3700, 90_000]))
    def time_passes(self, seconds: float) -> None:
        """A moment, or more than a day."""
        self.clock.advance(seconds=seconds)

    @rule(name=st.sampled_from(["every", "created", "other"]), dies=st.booleans(), breaks=st.booleans())
    def what_is_due_is_sent(self, name: str, dies: bool, breaks: bool) -> None:
        """The sender dies after a request, the database is away when it is to be written down, or all goes well."""
        self.receivers.dies = dies
        if breaks:
            post = self.receivers.post

            async def post_and_break(url: str, headers: Mapping[str, str], body: str) -> SendResult:
                answer = await post(url, headers, body)
                self.memory.answering = False
                return answer

            self.sender.post = post_and_break
        try:
            finish(self.sender.deliver_due(name))
        except (Crash, StoreUnavailable):
            pass
        finally:
            self.receivers.dies, self.memory.answering = False, True
            self.restart()

    @rule(name=st.sampled_from(["every", "created", "other"]), is_active=st.booleans())
    def a_webhook_is_switched(self, name: str, is_active: bool) -> None:
        """Off, it is told nothing of what happens."""
        webhook = next(hook for hook in self.hooks() if hook.id == name)
        put(self.store, replace(webhook, is_active=is_active))

    @invariant()
    def nothing_is_lost_or_out_of_order(self) -> None:
        """Each receiver has got a beginning of what it is to be told; what it has not got is still to come."""
        for hook in self.hooks():
            rows = list(reversed(self.store.deliveries(hook.id, 10_000)))
            got = list(dict.fromkeys(self.receivers.got.get(hook.url, [])))
            assert got == [row.event_id for row in rows][: len(got)], "in order, without a hole"
            for row in rows:
                assert row.delivered_at is None or row.event_id in got, "what is called delivered was"
                if row.delivered_at is None and row.next_try_at is None:
                    assert row.attempts >= 5, "not given up lightly"
                    assert self.clock.now() - row.created_at >= TRIED_FOR
            waiting = [row.id for row in rows if row.next_try_at is not None]
            assert waiting == [row.id for row in rows][len(rows) - len(waiting) :], "nobody overtakes"
            assert not [row for row in rows if row.id in waiting[1:] and row.attempts], "the later ones wait"

    def teardown(self) -> None:
        """When all are well again, everybody is told everything."""
        self.receivers.answers = {}
        for hook in self.hooks():
            put(self.store, replace(hook, is_active=True))
        self.clock.advance(hours=2)
        for hook in self.hooks():
            finish(self.sender.deliver_due(hook.id))
            assert self.store.unsettled(hook.id, 1) == ()
            told = {row.event_id for row in self.store.deliveries(hook.id, 10_000)}
            assert told == set(self.receivers.got.get(hook.url, []))


Telling.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestTelling = Telling.TestCase


@dataclass
class World:
    """A store with a webhook that is told of keys, a receiver, and the sender."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(now()))
    store: FakeStore = field(default_factory=FakeStore)
    receivers: Receivers = field(default_factory=Receivers)
    webhook: Webhook = field(init=False)

    def __post_init__(self) -> None:
        """One webhook."""
        self.webhook = self.add("one")

    def add(self, name: str) -> Webhook:
        """One more."""
        made = new_webhook(f"https://{name}.example/", (), self.clock.now())
        put(self.store, made)
        return made

    def sender(self) -> Sender:
        """A new one."""
        return Sender(self.store, self.receivers.post, self.clock, chance=lambda: 0.0)

    def got(self, webhook: Webhook) -> int:
        """How many requests have come."""
        return len(self.receivers.got.get(webhook.url, []))


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


def test_a_sender_that_runs_sends_by_itself(world: World) -> None:
    """What was there before its start, and what comes later; after its stop nothing more."""
    add(world.store, key(1))
    sender = world.sender()
    sender.worker.start()
    assert wait_until(lambda: world.got(world.webhook) == 1)
    add(world.store, key(2))
    assert wait_until(lambda: world.got(world.webhook) == 2)
    sender.worker.stop()
    assert not sender.worker.is_alive


def test_a_receiver_that_hangs_delays_nobody_else(world: World) -> None:
    """And is left alone when the sender stops; its event is still to be told."""
    slow, quick = world.webhook, world.add("two")
    world.receivers.hangs.add(slow.url)
    sender = world.sender()
    sender.worker.start()
    for number in range(3):
        add(world.store, key(number))
        assert wait_until(lambda number=number: world.got(quick) == number + 1)  # type: ignore[misc] # a lambda
    assert world.got(slow) == 0
    sender.worker.stop()
    assert not sender.worker.is_alive
    assert len(world.store.unsettled(slow.id, 100)) == 3


def test_a_database_that_is_away_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The sender goes on by itself, and says what is wrong once."""
    add(world.store, key(1))
    world.store.memory.answering = False
    sender = world.sender()
    sender.worker.start()
    assert wait_until(lambda: "not delivered" in caplog.text)
    world.store.memory.answering = True
    assert wait_until(lambda: world.got(world.webhook) == 1)
    sender.worker.stop()
    assert caplog.text.count("not delivered") == 1


def test_a_webhook_that_is_down_is_named_once_and_nothing_secret_is(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """By its id, when it has failed for half a minute, and at each event that is given up."""
    world.receivers.answers[world.webhook.url] = SendResult(None, "down")
    add(world.store, key(1))
    sender = world.sender()
    for _ in range(40):
        asyncio.run(sender.deliver_due(world.webhook.id))
        world.clock.advance(hours=1)
    (only,) = world.store.deliveries(world.webhook.id, 10)
    assert (only.next_try_at, only.delivered_at, only.last_error) == (None, None, "down")
    assert caplog.text.count("takes no events") == caplog.text.count("is given up") == 1
    assert world.webhook.id in caplog.text
    for secret in (world.webhook.secret, world.webhook.url, "one.example", "name 1"):
        assert secret not in caplog.text


def test_a_trial_that_arrives_lets_what_waits_be_tried_at_once(world: World) -> None:
    """One that does not arrive changes nothing; a change of the webhook does the same as one that does."""
    service = WebhookService(world.store, world.clock, world.receivers.post)
    add(world.store, key(1))
    world.receivers.answers[world.webhook.url] = SendResult(500)
    asyncio.run(world.sender().deliver_due(world.webhook.id))

    def is_due() -> bool:
        return world.store.unsettled(world.webhook.id, 1)[0].is_due(world.clock.now())

    trial = asyncio.run(service.test(world.webhook.id))
    assert (trial.answer.is_success, is_due()) == (False, False)
    world.receivers.answers.clear()
    trial = asyncio.run(service.test(world.webhook.id))
    assert (trial.answer.is_success, is_due()) == (True, True)


def test_what_was_settled_long_ago_is_forgotten(world: World) -> None:
    """After a week."""
    add(world.store, key(1))
    sender = world.sender()
    asyncio.run(sender.deliver_due(world.webhook.id))
    sender.prune()
    assert len(world.store.deliveries(world.webhook.id, 10)) == 1
    world.clock.time += timedelta(days=7, minutes=1)
    sender.prune()
    assert world.store.deliveries(world.webhook.id, 10) == ()
