"""Anything may happen to a server, in any order: afterwards it is what a dictionary of keys says.

The service dies between any two steps, Xray crashes, answers late or never, hands reach into the file and into Xray,
ports are taken by others, limits strike and are lifted. The model is in `tests.support.model`; the real thing is the
service on a fake Node and a fake Store.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, multiple, precondition, rule
from tests.fake_store import FakeStore, Memory
from tests.fakes import Connection, Crash, FakeClock, FakeNode, Steps
from tests.support.model import Model
from tests.support.troubles import POOL, Troubles

from vpnkeys.domain.change import ANSWERS_KEPT_FOR
from vpnkeys.domain.errors import (
    KeyNotFound,
    NotWritten,
    PortsExhausted,
    SpeedLimitImpossible,
    StopPending,
    Unavailable,
    XrayUnavailable,
)
from vpnkeys.domain.inbound import ForeignInbound, ServerIdentity, key_inbound, warm_inbounds
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.domain.making import Draft
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.change.late_calls import QUIET_S
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.rotation import Renewal, rotate
from vpnkeys.service.traffic import TrafficService

SITE = ServerIdentity("127.0.0.1", KeyPair.of_private("A" * 43).private_key, "/run/vpnkeys", ("a.example", "b.example"))
OPERATORS = ForeignInbound("operator", 443)
T = TypeVar("T")
hangs = st.sampled_from([None, None, None, True, False])
deaths = st.none() | st.integers(0, 8)
"""After how many steps the service dies, if it does."""

renewals = st.builds(Renewal, st.booleans(), st.booleans(), st.booleans()).filter(lambda one: one != Renewal())

limits_from_now = st.builds(
    lambda hours, quota, window, speed: (hours, Limits(None, quota, window, None, speed)),
    st.sampled_from([None, None, -1, 1, 30]),
    st.sampled_from([None, None, 1, 100]),
    st.sampled_from([Window.TOTAL, Window.DAY]),
    st.sampled_from([None, None, 5]),
)
"""Hours until the expiry, if there is one, and the other limits."""


class Server(Troubles):
    """The rules."""

    keys = Bundle("keys")
    gone = Bundle("gone")

    @initialize(xray_is_ours=st.booleans())
    def first_start(self, xray_is_ours: bool) -> None:
        """An empty server."""
        self.xray_is_ours = xray_is_ours
        self.memory, self.steps, self.clock, self.model = Memory(), Steps(), FakeClock(), Model()
        self.seconds = 0.0
        self.chance = Random(0)  # noqa: S311 - to be repeated, not to be secret
        self.ended: dict[str, Key] = {}
        self.unanswered: dict[str, tuple[Key, datetime | None]] = {}
        self.node = FakeNode(self.steps, names=frozenset(SITE.server_names))
        self.node.file = FileView(FileState.OK, {}, foreign=(OPERATORS,))
        self.start_service()
        self.node.start_xray()
        self.settle()

    def start_service(self) -> None:
        """A new life of the service: nothing is left of the old one but disk, Xray and customers."""
        store = FakeStore(self.memory, self.steps, busy_timeout_s=0.1)
        reconciler, traffic = (
            Reconciler(store, self.node, self.node, SITE),
            TrafficService(store, self.node, self.clock),
        )
        self.service = KeyService(KeyChanger(reconciler, self.clock, self.chance, traffic.usage.read), POOL)
        self.service.reconciler.late_calls.clock = lambda: self.seconds
        self.enforcer = Enforcer(self.service, traffic)

    def after_death(self) -> None:
        """Nobody got an answer: what the database says now counts. Xray dies with it if it is ours."""
        self.start_service()
        self.learn_what_was_counted()
        if self.xray_is_ours:
            self.end_xray()
            self.node.start_xray()
        left = {key.id: key for key in self.service.list()}
        self.unanswered |= {key.id: (key, None) for key in self.model.keys.values() if key.id not in left}
        self.model.keys = left
        # Whoever had come by a door of their own may stay when the death falls between its removal and the cut.
        self.node.connections = [one for one in self.node.connections if one not in self.strangers]

    def end_xray(self) -> None:
        """Bytes that no sample saw are gone with it."""
        self.node.end_xray()
        self.model.unseen = {}

    def learn_what_was_counted(self) -> None:
        """A sample was merged whole, or not at all."""
        for key in self.service.list():
            total = self.service.reconciler.store.traffic(key.account).total_bytes
            if total != sum(self.model.counted.get(key.account, {}).values()):
                self.model.sample(self.clock.now())
                assert total == sum(self.model.counted[key.account].values())

    def settle(self) -> None:
        """Let everything work again, repair, and compare with the model."""
        self.node.writable, self.node.refuses_all, self.node.can_limit_speeds = True, False, True
        self.node.occupied -= {key.port for key in self.model.keys.values()}
        self.node.answers = True
        if not self.node.is_up():
            self.service.reconciler.node.apply(self.service.reconciler.compare()[1])
            self.node.start_xray()
        self.service.reconciler.reconcile()
        self.xray_is_quiet()
        self.service.reconciler.reconcile()
        self.is_as_the_model_says()
        assert all(stop.is_confirmed for stop in self.service.reconciler.stops.known()[2])
        assert self.service.reconciler.store.intents() == ()

    def is_as_the_model_says(self) -> None:
        """Database, file, Xray, customers and speeds agree, and there is nothing more to repair."""
        assert {key.id: key for key in self.service.list()} == self.model.keys
        wanted = {inbound.tag: inbound for inbound in warm_inbounds(SITE)}
        wanted |= {key.tag: key_inbound(key, SITE) for key in self.model.working}
        assert self.node.file.inbounds == wanted
        running = dict(self.node.running or {})
        running.pop(OPERATORS.tag, None)
        assert running == wanted
        assert all((self.node.connect(key) is not None) == (key in self.model.working) for key in self.service.list())
        assert self.node.speeds == self.model.speeds
        assert not self.service.reconciler.reconcile()
        entitled = {(key.uuid, key.port) for key in self.model.working}
        assert {(connection.uuid, connection.port) for connection in self.open_connections()} <= entitled

    def attempt(
        self,
        action: Callable[[], tuple[T, ...]],
        dies: int | None,
        hangs: bool | None,
        stopped: dict[str, Key] | None = None,
    ) -> tuple[T, ...] | None:
        """What was answered; None when nothing was, and then nothing has changed, unless the service died.

        Xray `hangs` meanwhile: True is late, False never does what it was asked for. `stopped` are the keys as they are
        when a stop is written, and not confirmed yet.
        """
        if hangs is not None and self.node.is_up():
            self.node.answers, self.node.is_late = False, hangs
        self.steps.left = dies
        try:
            return action()
        except Crash:
            self.after_death()
        except (StopPending, NotWritten):
            assert stopped is not None, "a start is never pending"
            assert {key.id: key for key in self.service.list()} == stopped
            self.unanswered |= {
                key.id: (key, self.clock.now()) for key in self.model.keys.values() if key.id not in stopped
            }
            self.model.keys = stopped
        except Unavailable:
            assert {key.id: key for key in self.service.list()} == self.model.keys
        except SpeedLimitImpossible:
            assert not self.node.can_limit_speeds
            assert {key.id: key for key in self.service.list()} == self.model.keys
        finally:
            self.steps.left = None
            if hangs is not None:
                self.node.answers = True
        return None

    @rule(
        target=keys,
        count=st.sampled_from([1, 1, 1, 2, 5]),
        is_active=st.booleans(),
        given=limits_from_now,
        dies=deaths,
        hangs=hangs,
    )
    def create(
        self, count: int, is_active: bool, given: tuple[int | None, Limits], dies: int | None, hangs: bool | None
    ) -> object:
        """Keys are answered and work, or nothing is left of them."""
        self.clock.advance(seconds=1)
        draft = Draft("Мария", "note", self.limits_of(given), is_active or count == 1)
        taken = {key.port for key in self.service.list()} | self.reserved_ports()
        free = [port for port in POOL.ports if port not in taken and self.node.is_free(port)]
        others = self.open_connections()
        if count > len(free) and self.node.is_up():
            try:
                self.service.create_many([draft] * count)
            except (PortsExhausted, SpeedLimitImpossible):
                return multiple()
            except XrayUnavailable:
                assert self.reserved_ports(), "else it is 400, as repeating does not help"
                return multiple()
            raise AssertionError("more keys than ports")
        made = self.attempt(lambda: self.service.create_many([draft] * count), dies, hangs)
        if made is None:
            return multiple()
        assert [key.port for key in made] == free[:count]
        assert all(key == self.model.judged(key, self.clock.now()) for key in made)
        assert all((self.node.connect(key) is not None) == (key.status is Status.ACTIVE) for key in made)
        assert all(connection.is_open for connection in others), "nobody else notices"
        self.model.put(*made)
        return multiple(*made)

    def reserved_ports(self) -> set[int]:
        """Those of starts that the service died over, and of stops that the node has not confirmed."""
        pending = {stop.port for stop in self.service.reconciler.stops.unconfirmed()}
        return pending | {intent.port for intent in FakeStore(self.memory).intents()}

    def limits_of(self, given: tuple[int | None, Limits]) -> Limits:
        """With the expiry as a date."""
        hours, limits = given
        return limits if hours is None else replace(limits, expires_at=self.clock.now() + timedelta(hours=hours))

    @rule(target=gone, first=consumes(keys), more=st.lists(keys, max_size=2), dies=deaths, hangs=hangs)
    def delete(self, first: Key, more: list[Key], dies: int | None, hangs: bool | None) -> object:
        """After the answer nobody is in and nobody gets in; without an answer the keys may be there or not."""
        named = dict.fromkeys(key.id for key in (first, *more))
        if not named.keys() <= self.model.keys.keys():
            return multiple()
        chosen = {key_id: self.model.keys[key_id] for key_id in named}
        ports = {key.port for key in chosen.values()}
        others = [connection for connection in self.open_connections() if connection.port not in ports]
        rest = {key_id: key for key_id, key in self.model.keys.items() if key_id not in chosen}
        if self.attempt(lambda: self.service.delete(*chosen, chosen[first.id].uuid), dies, hangs, rest) is None:
            return multiple()
        self.model.keys = rest
        self.ended.update(chosen)
        for key in chosen.values():
            self.is_cut_off(key)
        assert all(connection.is_open for connection in others), "nobody else notices"
        return multiple(*chosen.values())

    @rule(key=keys, is_active=st.booleans(), given=st.none() | limits_from_now, dies=deaths, hangs=hangs)
    def change(
        self,
        key: Key,
        is_active: bool,
        given: tuple[int | None, Limits] | None,
        dies: int | None,
        hangs: bool | None,
    ) -> None:
        """Switched off or on, or with other limits: it works accordingly when this is answered, and is the same key."""
        now = self.model.keys.get(key.id)
        if now is None:
            return
        limits = now.limits if given is None else self.limits_of(given)
        others = [connection for connection in self.open_connections() if connection.port != key.port]
        draft = Draft(key.name, "changed", limits, is_active)
        wanted = self.model.judged(replace(now, note="changed", limits=limits, is_active=is_active), self.clock.now())
        stopped = None if wanted.status is Status.ACTIVE else {**self.model.keys, key.id: wanted}
        answered = self.attempt(lambda: (self.service.change(key.id, lambda _: draft),), dies, hangs, stopped)
        if answered is None:
            return
        assert answered == (wanted,)
        self.model.put(*answered)
        assert all(connection.is_open for connection in others), "nobody else notices"
        if answered[0].status is not Status.ACTIVE:
            self.is_cut_off(now)

    @rule(key=keys, renewal=renewals, dies=deaths, hangs=hangs)
    def rotate(self, key: Key, renewal: Renewal, dies: int | None, hangs: bool | None) -> None:
        """A new link: it works when this is answered, whoever had the old one is out, and nothing else is changed."""
        now = self.model.keys.get(key.id)
        if now is None or (not now.serves and self.knows_stop(now)):
            return
        others = [connection for connection in self.open_connections() if connection.port != now.port]
        answered = self.attempt(lambda: (rotate(self.service, key.id, renewal),), dies, hangs)
        if answered is None:
            return
        (made,) = answered
        assert [made.uuid != now.uuid, made.short_id != now.short_id, made.sni != now.sni] == [
            renewal.uuid,
            renewal.short_id,
            renewal.sni,
        ]
        same = replace(made, uuid=now.uuid, first_uuid=now.first_uuid, short_id=now.short_id, sni=now.sni)
        assert (same, made.account) == (now, now.account)
        self.model.put(made)
        assert not [connection for connection in self.open_connections() if connection.port == now.port]
        assert self.node.connect(now) is None
        assert (self.node.connect(made) is not None) == made.serves
        assert all(connection.is_open for connection in others), "nobody else notices"

    @precondition(lambda self: self.unanswered)
    @rule(target=gone, data=st.data(), dies=deaths)
    def delete_again(self, data: st.DataObject, dies: int | None) -> object:
        """Somebody who got no answer, or 503, asks again: until it is true, and after that once more."""
        key, stopped_at = self.unanswered[data.draw(st.sampled_from(sorted(self.unanswered)))]
        try:
            if self.attempt(lambda: self.service.delete(key.id), dies, None, dict(self.model.keys)) is None:
                if not self.knows_stop(key):
                    self.unanswered[key.id] = (key, None)
                return multiple()
        except KeyNotFound:
            assert stopped_at is None or self.clock.now() - stopped_at >= ANSWERS_KEPT_FOR, "not heard yet"
        del self.unanswered[key.id]
        self.ended[key.id] = key
        self.is_cut_off(key)
        try:
            self.service.delete(key.id)
        except KeyNotFound:
            return key
        raise AssertionError("deleted twice")

    @rule(target=gone, key=consumes(keys), is_late=st.booleans())
    def switch_off_and_delete(self, key: Key, is_late: bool) -> object:
        """While Xray hangs: the deletion of a key whose stop is pending is pending as well, each time."""
        self.change(key, False, None, None, is_late)
        gone = self.delete(key, [], None, is_late)
        if key.id in self.unanswered and self.knows_stop(key):
            again = self.attempt(lambda: self.service.delete(key.id), None, is_late, dict(self.model.keys))
            assert again is None or self.node.connect(key) is None
        return gone

    def knows_stop(self, key: Key) -> bool:
        """Whether the service still knows that this key had to stop: it may have died over the very answer."""
        return key.id in {stop.key_id for stop in self.service.reconciler.stops.known()[2]}

    @rule(key=keys, count=st.sampled_from([1, 60, 500]))
    def a_customer_sends(self, key: Key, count: int) -> None:
        """As far as they get in."""
        connection = self.node.connect(key)
        if connection is not None:
            self.node.carry(connection, count, 0)
            self.model.unseen[key.account] = self.model.unseen.get(key.account, 0) + count

    @rule(hours=st.sampled_from([0.1, 1, 20]))
    def time_passes(self, hours: float) -> None:
        """Nobody looks yet."""
        self.clock.advance(hours=hours)

    @rule(dies=deaths)
    def limits_are_looked_at(self, dies: int | None) -> None:
        """Each key is as its limits say; a key that may come back does so unless its port was taken meanwhile."""
        self.enforcer._sampled_at = float("-inf")
        before = dict(self.model.keys)
        self.steps.left = dies
        failed = True
        try:
            self.enforcer.look()
            failed = False
        except Crash:
            self.after_death()
        except Unavailable:
            self.learn_what_was_counted()
        finally:
            self.steps.left = None
        now = self.clock.now()
        if not failed and any(key.limits.traffic_bytes for key in before.values()):
            self.model.sample(now)
        for key in self.service.list():
            allowed = self.model.judged(before[key.id], now)
            keeps = failed or (allowed.status is Status.ACTIVE and key.port in self.node.occupied)
            assert key == allowed or (keeps and key == before[key.id])
            self.model.put(key)
            if key.status is not Status.ACTIVE and key != before[key.id] and not failed:
                self.is_cut_off(key)

    def open_connections(self) -> list[Connection]:
        """All customers who are in."""
        return [connection for connection in self.node.connections if connection.is_open]

    def is_cut_off(self, key: Key) -> None:
        """Nobody is in with it, and nobody gets in."""
        assert self.node.connect(key) is None
        assert not [connection for connection in self.open_connections() if connection.uuid == key.uuid]

    @invariant()
    def gone_for_ever(self) -> None:
        """A key whose delete was answered stays deleted, whatever comes after it."""
        for key in self.ended.values():
            self.is_cut_off(key)

    @rule()
    def xray_crashes(self) -> None:
        """And does not come back yet."""
        self.end_xray()

    @rule()
    def xray_starts(self) -> None:
        """With whatever the file says."""
        self.end_xray()
        self.node.start_xray()

    @rule(is_late=st.booleans())
    def xray_hangs(self, is_late: bool) -> None:
        """Its customers notice nothing; what it is asked for it does later, or never."""
        if self.node.is_up():
            self.node.answers, self.node.is_late = False, is_late

    @rule(later=st.booleans())
    def xray_answers_again(self, later: bool) -> None:
        """And does what it was asked for, now or even later."""
        self.node.answers = True
        if not later:
            self.node.make_late_changes()

    @rule()
    def xray_is_quiet(self) -> None:
        """For so long that nothing can be left to do."""
        if self.node.answers:
            self.node.make_late_changes()
        self.seconds += QUIET_S

    @rule(dies=deaths)
    def repair(self, dies: int | None) -> None:
        """Everything works again, and the repair may die on its way; the next one is complete."""
        self.node.writable, self.node.refuses_all, self.node.can_limit_speeds = True, False, True
        self.node.answers = True
        self.steps.left = dies
        try:
            self.service.reconciler.reconcile()
        except Crash:
            self.after_death()
        except Unavailable:
            pass
        finally:
            self.steps.left = None
        self.settle()

    @invariant()
    def nothing_is_doubled(self) -> None:
        """UUIDs, ports and short ids are unique, and ports lie in the range."""
        found = FakeStore(self.memory).keys()
        for values in ({k.uuid for k in found}, {k.port for k in found}, {k.short_id for k in found}):
            assert len(values) == len(found) <= len(POOL)
        assert all(key.port in POOL for key in found)

    def teardown(self) -> None:
        """However it went: one repair, and all is well."""
        self.settle()


Server.TestCase.settings = settings(max_examples=100, stateful_step_count=25)
TestServer = Server.TestCase
