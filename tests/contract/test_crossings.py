"""What agents and their control plane say to each other may get lost, come twice, late or out of order.

Agents and control plane may start again between any two steps, machines may crash. Then, and all the while: no byte is
counted twice, what is answered 200 is so on the node, and once all is heard, both sides have the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from tests.support.crossings import Fate, Outpost, SqlPlane, outpost

from vpnkeys.domain.errors import KeyNotFound, NodeSilent, PortsExhausted
from vpnkeys.domain.key import Key
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.rotation import Renewal, rotate

NODES = {"one": PortRange(20001, 20004), "two": PortRange(20001, 20004)}
names = st.sampled_from(sorted(NODES))
fates = st.sampled_from(Fate)
MEANWHILE = ("follow", "report", "late", "crash", "restart")
"""What agents may do while a request waits for them."""
meanwhile = st.lists(st.tuples(st.sampled_from(MEANWHILE), fates), max_size=5)


class Crossings(RuleBasedStateMachine):
    """A control plane and two nodes. `counted` and `unseen` are bytes by account: sampled on the node, or not yet."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="vpnkeys-test-")
        self.to = SqlPlane(Path(self.directory.name) / "plane.db")
        self.to.on_news = self.hear
        self.nodes: dict[str, Outpost] = {}
        self.counted: dict[str, int] = {}
        self.unseen: dict[str, dict[str, int]] = {name: {} for name in NODES}
        self.crashes = dict.fromkeys(NODES, 0)
        self.steps: list[tuple[str, Fate]] = []

    @initialize()
    def begin(self) -> None:
        """Both nodes are up."""
        for name, ports in NODES.items():
            self.nodes[name] = outpost(self.to, name, ports, Path(self.directory.name))
            self.nodes[name].catch_up()

    def hear(self, node_id: int) -> None:
        """While a request waits, the agent does what the test has drawn; there may be more news meanwhile."""
        steps, self.steps = self.steps, []
        for node in self.nodes.values():
            record = self.to.plane.admin.identify(node.way.token)
            if record is not None and record.ref.id == node_id:
                for step, fate in steps:
                    self.act(node, step, fate)

    def act(self, node: Outpost, step: str, fate: Fate) -> None:
        """One step of an agent, or of its network."""
        if step == "follow":
            node.follow(fate)
        elif step == "report":
            node.report(fate)
        elif step == "late":
            if node.way.late:
                node.way.arrive(node.way.late.pop())
        elif step == "restart":
            node.restart()
        else:
            self.xray_crashes(node.name)

    def asked(self, change: Callable[[], object], steps: list[tuple[str, Fate]]) -> bool:
        """Whether a request was answered 200."""
        self.steps = steps
        try:
            change()
        except NodeSilent:
            return False
        finally:
            self.steps = []
        return True

    def now(self, key: Key) -> Key | None:
        """The key as it is; None when it was deleted."""
        return next((one for one in self.to.plane.keys.list() if one.id == key.id), None)

    @rule(target=keys, name=names, steps=meanwhile)
    def create(self, name: str, steps: list[tuple[str, Fate]]) -> object:
        """It works when that is answered; and is nowhere when it is not."""
        self.to.clock.advance(seconds=1)
        made: list[Key] = []
        before = self.to.plane.keys.list()
        wish = NodeWish(node=name)
        try:
            is_made = self.asked(lambda: made.append(self.to.plane.keys.create(Draft("x"), None, wish)), steps)
        except PortsExhausted:
            return multiple()
        if not is_made:
            assert self.to.plane.keys.list() == before
            return multiple()
        (key,) = made
        assert self.nodes[name].lets_in(key)
        self.counted[key.account] = 0
        return key

    @rule(key=keys, is_active=st.booleans(), steps=meanwhile)
    def switch(self, key: Key, is_active: bool, steps: list[tuple[str, Fate]]) -> None:
        """On or off; what is answered is so on the node."""
        if self.now(key) is None:
            return
        draft = Draft("x", is_active=is_active)
        is_done = self.asked(lambda: self.to.plane.keys.change(key.id, lambda _key: draft), steps)
        now = self.now(key)
        assert now is not None
        if is_done:
            assert self.nodes[key.node.name].lets_in(now) == is_active

    @rule(key=keys, steps=meanwhile)
    def renew(self, key: Key, steps: list[tuple[str, Fate]]) -> None:
        """When that is answered, the link that was is nobody's."""
        was = self.now(key)
        if was is None:
            return
        if self.asked(lambda: rotate(self.to.plane.keys, key.id, Renewal(uuid=True, short_id=True)), steps):
            now = self.now(key)
            assert now is not None
            assert not self.nodes[key.node.name].lets_in(was)
            assert self.nodes[key.node.name].lets_in(now) == now.is_active

    @rule(key=keys, steps=meanwhile)
    def delete(self, key: Key, steps: list[tuple[str, Fate]]) -> None:
        """When that is answered, nobody gets in, and it is not found any more."""
        was = self.now(key) or key
        try:
            is_done = self.asked(lambda: self.to.plane.keys.delete(key.id), steps)
        except KeyNotFound:
            assert self.now(key) is None
            return
        if is_done:
            assert not self.nodes[key.node.name].lets_in(was)
        assert self.now(key) is None

    @rule(name=names, step=st.sampled_from(MEANWHILE), fate=fates)
    def something_happens(self, name: str, step: str, fate: Fate) -> None:
        """To an agent, its machine or its network."""
        self.act(self.nodes[name], step, fate)

    @rule(name=names, at=st.integers(0, 9))
    def a_late_report_arrives(self, name: str, at: int) -> None:
        """Any of them, and it may come once more."""
        late = self.nodes[name].way.late
        if late:
            self.nodes[name].way.arrive(late[at % len(late)])

    @rule(key=keys, up=st.integers(1, 10**6), down=st.integers(0, 10**6))
    def a_customer_sends(self, key: Key, up: int, down: int) -> None:
        """Where the node lets them in."""
        node = self.nodes[key.node.name]
        connection = node.world.node.connect(self.now(key) or key)
        if connection is not None:
            node.world.node.carry(connection, up, down)
            unseen = self.unseen[node.name]
            unseen[key.account] = unseen.get(key.account, 0) + up + down

    @rule(name=names)
    def the_node_samples(self, name: str) -> None:
        """What passed until now is counted, whatever happens to Xray."""
        self.nodes[name].sample()
        for account, count in self.unseen[name].items():
            self.counted[account] = self.counted.get(account, 0) + count
        self.unseen[name] = {}

    def xray_crashes(self, name: str) -> None:
        """What no sample has seen is gone."""
        self.nodes[name].reboot()
        self.unseen[name] = {}
        self.crashes[name] += 1

    @rule()
    def the_control_plane_restarts(self) -> None:
        """Requests to it that were under way are gone with it."""
        self.to.restart()
        for node in self.nodes.values():
            node.way.late.clear()

    @rule(seconds=st.sampled_from([1, 20, 4000]))
    def time_passes(self, seconds: int) -> None:
        """The same everywhere."""
        self.to.clock.advance(seconds=seconds)
        for node in self.nodes.values():
            node.world.clock.advance(seconds=seconds)

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        """At no time is more counted than was carried."""
        for account, total in self.to.plane.world.store.totals().items():
            assert total.total_bytes <= self.counted[account]

    def teardown(self) -> None:
        """Once all is heard, both sides have the same; late reports change nothing any more."""
        for name, node in self.nodes.items():
            self.the_node_samples(name)
            node.catch_up()
            self.is_settled(node)
            for sent in reversed(node.way.late):
                node.way.arrive(sent)
            self.is_settled(node)
        self.to.stop()
        self.directory.cleanup()

    def is_settled(self, node: Outpost) -> None:
        """Keys, confirmations, bytes and gaps are the same on both sides."""
        plane = self.to.plane
        record = plane.admin.identify(node.way.token)
        assert record is not None
        keys = plane.keys.list().on(record.ref.id)
        assert {key.id: key.is_active for key in keys} == {key.id: key.is_active for key in node.world.keys.list()}
        assert all(node.lets_in(key) == key.is_active for key in keys)
        assert plane.board.wanted(record.ref.id).is_had(plane.board.confirmed(record.ref.id))
        assert all(stop.is_confirmed for stop in plane.world.store.stops() if stop.node_id == record.ref.id)
        there = node.world.store
        for key in keys:
            total = plane.world.store.traffic(key.account)
            assert total.total_bytes == self.counted[key.account] == there.traffic(key.account).total_bytes


Crossings.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestCrossings = Crossings.TestCase
