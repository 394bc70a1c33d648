"""Anything may happen to a server, in any order: afterwards it is what a dictionary of keys says.

The service dies between any two steps, Xray crashes, hands reach into the file and into Xray, ports are taken by
others. The model is the dictionary; the real thing is the service on a fake Node and a fake Store.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from tests.fake_store import FakeStore, Memory
from tests.fakes import Connection, Crash, FakeClock, FakeNode, Steps
from tests.strategies import altered, inbounds

from vpnkeys.domain.errors import KeyNotFound, PortsExhausted, Unavailable
from vpnkeys.domain.inbound import Inbound, Opaque, Site, desired_inbounds
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.keys import KeyService
from vpnkeys.service.reconcile import Reconciler

POOL = PortRange(10001, 10004)
SITE = Site("127.0.0.1", KeyPair.of_private("A" * 43).private_key, "/run/vpnkeys", ("a.example", "b.example"))
OPERATORS = Opaque("operator", 443)
deaths = st.none() | st.integers(0, 8)
"""After how many steps the service dies, if it does."""


class Server(RuleBasedStateMachine):
    """The rules."""

    keys = Bundle("keys")
    gone = Bundle("gone")

    @initialize(xray_is_ours=st.booleans())
    def first_start(self, xray_is_ours: bool) -> None:
        """An empty server."""
        self.xray_is_ours = xray_is_ours
        self.memory, self.steps, self.clock = Memory(), Steps(), FakeClock()
        self.node = FakeNode(self.steps, names=frozenset(SITE.server_names))
        self.node.file = FileView(FileState.OK, {}, foreign=(OPERATORS,))
        self.answered: dict[str, Key] = {}
        self.start_service()
        self.node.start_xray()
        self.settle()

    def start_service(self) -> None:
        """A new life of the service: nothing is left of the old one but disk, Xray and customers."""
        store = FakeStore(self.memory, self.steps, busy_timeout_s=0.1)
        self.service = KeyService(Reconciler(store, self.node, SITE), self.clock, POOL)

    def after_death(self) -> None:
        """Nobody got an answer: what the database says now counts. Xray dies with it if it is ours."""
        self.start_service()
        if self.xray_is_ours:
            self.node.end_xray()
            self.node.start_xray()
        self.answered = {key.id: key for key in self.service.list()}

    def settle(self) -> None:
        """Let everything work again, repair, and compare with the model."""
        self.node.writable, self.node.refuses_all = True, False
        self.node.occupied -= {key.port for key in self.answered.values()}
        if not self.node.is_up():
            self.service.reconciler.node.apply(self.service.reconciler.compare()[1])
            self.node.start_xray()
        self.service.reconciler.reconcile()
        self.is_as_the_model_says()

    def is_as_the_model_says(self) -> None:
        """Database, file, Xray and customers agree, and there is nothing more to repair."""
        assert {key.id: key for key in self.service.list()} == self.answered
        wanted = {inbound.tag: inbound for inbound in desired_inbounds(self.answered.values(), SITE)}
        assert self.node.file.inbounds == wanted
        running = dict(self.node.running or {})
        running.pop(OPERATORS.tag, None)
        assert running == wanted
        assert all(self.node.connect(key) for key in self.answered.values())
        assert not self.service.reconciler.reconcile()
        entitled = {(key.uuid, key.port) for key in self.answered.values()}
        assert {(connection.uuid, connection.port) for connection in self.open_connections()} <= entitled

    @rule(target=keys, name=st.sampled_from(["Ivan", "Мария", "😀"]), dies=deaths)
    def create(self, name: str, dies: int | None) -> Key | object:
        """A key is answered and works, or nothing is left of it."""
        self.clock.advance(seconds=1)
        taken = {key.port for key in self.service.list()}
        free = [port for port in POOL.ports if port not in taken and self.node.is_free(port)]
        others = self.open_connections()
        self.steps.left = dies
        try:
            key = self.service.create(name)
        except Crash:
            self.after_death()
            return multiple()
        except PortsExhausted:
            assert not free
            return multiple()
        except Unavailable:
            assert self.service.list() == tuple(self.answered.values())
            return multiple()
        finally:
            self.steps.left = None
        assert key.port == free[0]
        assert self.node.connect(key), "an answered key works at once"
        assert all(connection.is_open for connection in others), "nobody else notices"
        self.answered[key.id] = key
        return key

    @rule(target=gone, key=consumes(keys), dies=deaths)
    def delete(self, key: Key, dies: int | None) -> Key | object:
        """After the answer nobody is in and nobody gets in; without an answer the key may be there or not."""
        others = [connection for connection in self.open_connections() if connection.port != key.port]
        self.steps.left = dies
        try:
            self.service.delete(key.uuid if dies else key.id)
        except Crash:
            self.after_death()
            return multiple()
        except KeyNotFound:
            assert key.id not in self.answered
            return multiple()
        except Unavailable:
            assert key in self.service.list(), "a failed delete puts the key back"
            return multiple()
        finally:
            self.steps.left = None
        del self.answered[key.id]
        self.is_cut_off(key)
        assert all(connection.is_open for connection in others), "nobody else notices"
        return key

    def open_connections(self) -> list[Connection]:
        """All customers who are in."""
        return [connection for connection in self.node.connections if connection.is_open]

    def is_cut_off(self, key: Key) -> None:
        """Nobody is in with it, and nobody gets in."""
        assert self.node.connect(key) is None
        assert not [connection for connection in self.open_connections() if connection.uuid == key.uuid]

    @rule(key=gone)
    def gone_for_ever(self, key: Key) -> None:
        """A deleted key stays deleted, whatever came after it."""
        if key.id not in self.answered:
            self.is_cut_off(key)

    @rule()
    def xray_crashes(self) -> None:
        """And does not come back yet."""
        self.node.end_xray()

    @rule()
    def xray_starts(self) -> None:
        """With whatever the file says."""
        self.node.start_xray()

    @rule(state=st.sampled_from(FileState), frame_ok=st.booleans())
    def file_is_spoilt(self, state: FileState, frame_ok: bool) -> None:
        """Somebody edits config.json."""
        kept = self.node.file if state is FileState.OK else FileView(state, {})
        self.node.file = replace(kept, frame_ok=frame_ok)

    @rule(data=st.data(), where=st.sampled_from(["file", "xray"]))
    def an_inbound_is_changed(self, data: st.DataObject, where: str) -> None:
        """Somebody removes one, alters one, or adds one of theirs on our ports."""
        there = dict(self.node.file.inbounds if where == "file" else self.node.running or {})
        wanted = {key.tag for key in self.answered.values()}
        ours = [inbound for inbound in there.values() if isinstance(inbound, Inbound) and inbound.tag in wanted]
        kind = data.draw(st.sampled_from(["removed", "altered", "added"] if ours else ["added"]))
        if kind == "added":
            stranger = data.draw(inbounds(port=st.sampled_from(POOL.ports)))
            there[stranger.tag] = stranger
            if where == "xray" and stranger.port and self.node.running is not None:
                self.node.connections.append(Connection(stranger.clients[0].uuid, stranger.port))
        else:
            chosen = data.draw(st.sampled_from(ours))
            del there[chosen.tag]
            if kind == "altered":
                there[chosen.tag] = data.draw(altered(chosen))
        if where == "file":
            self.node.file = replace(self.node.file, inbounds=there)
        elif self.node.running is not None:
            self.node.running = there

    @rule(refuses=st.booleans(), writable=st.booleans())
    def something_breaks(self, refuses: bool, writable: bool) -> None:
        """The disk is full, or Xray takes nothing."""
        self.node.refuses_all, self.node.writable = refuses, writable

    @rule(port=st.sampled_from(POOL.ports))
    def another_program_takes_a_port(self, port: int) -> None:
        """A port on which nothing listens."""
        if self.node.is_free(port):
            self.node.occupied.add(port)

    @rule(dies=deaths)
    def repair(self, dies: int | None) -> None:
        """Everything works again, and the repair may die on its way; the next one is complete."""
        self.node.writable, self.node.refuses_all = True, False
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


Server.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestServer = Server.TestCase
