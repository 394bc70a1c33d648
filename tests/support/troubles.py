"""What hands, disks and other programs do to a server under test, as rules of a state machine."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.fakes import Connection, FakeNode
from tests.strategies import altered, inbounds
from tests.support.model import Model
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.portpool import PortRange

POOL = PortRange(10001, 10004)


class Troubles(RuleBasedStateMachine):
    """The rules. A subclass has a node, and a model of what should be."""

    node: FakeNode
    model: Model

    def __init__(self) -> None:
        """Begin without connections."""
        super().__init__()
        self.strangers: list[Connection] = []

    @rule(state=st.sampled_from(FileState), base_ok=st.booleans())
    def file_is_spoilt(self, state: FileState, base_ok: bool) -> None:
        """An operator edits config.json."""
        kept = self.node.file if state is FileState.OK else FileView(state, {})
        self.node.file = replace(kept, base_ok=base_ok)

    @rule(data=st.data(), where=st.sampled_from(["file", "xray"]))
    def an_inbound_is_changed(self, data: st.DataObject, where: str) -> None:
        """Another program removes an inbound, changes one, or adds one on our ports."""
        there = dict(self.node.file.inbounds if where == "file" else self.node.running or {})
        wanted = {key.tag for key in self.model.keys.values()}
        ours = [inbound for inbound in there.values() if isinstance(inbound, Inbound) and inbound.tag in wanted]
        kind = data.draw(st.sampled_from(["removed", "altered", "added"] if ours else ["added"]))
        if kind == "added":
            new = inbounds(port=st.sampled_from(POOL.ports)).filter(lambda inbound: inbound.tag not in there)
            stranger = data.draw(new)
            there[stranger.tag] = stranger
            if where == "xray" and stranger.port and self.node.running is not None:
                self.strangers.append(Connection(stranger.clients[0].uuid, stranger.port))
                self.node.connections.append(self.strangers[-1])
        else:
            chosen = data.draw(st.sampled_from(ours))
            del there[chosen.tag]
            if kind == "altered":
                there[chosen.tag] = data.draw(altered(chosen))
        if where == "file":
            self.node.file = replace(self.node.file, inbounds=there)
        elif self.node.running is not None:
            self.node.running = there

    @rule(refuses=st.booleans(), writable=st.booleans(), can_limit_speeds=st.booleans())
    def something_breaks(self, refuses: bool, writable: bool, can_limit_speeds: bool) -> None:
        """The disk is full, Xray takes nothing, or the kernel limits nothing."""
        self.node.refuses_all, self.node.writable = refuses, writable
        self.node.can_limit_speeds = can_limit_speeds

    @rule(port=st.sampled_from(POOL.ports))
    def another_program_takes_a_port(self, port: int) -> None:
        """A port on which nothing listens."""
        if self.node.is_free(port):
            self.node.occupied.add(port)
