"""A control plane without a node of its own: keys live elsewhere, and nothing is missing here."""

from dataclasses import replace

import pytest
from tests.support.fleet import FAR_PORTS, Plane, with_agent
from tests.support.memory import World

from vpnkeys.api.convert.nodes import port_part, port_table
from vpnkeys.bootstrap.plane import _refuse_local_keys
from vpnkeys.domain.errors import ConfigRefused, KeyElsewhere, NodeSilent, StartRefused, XrayUnavailable
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeState, NodeWish
from vpnkeys.domain.plan import Plan
from vpnkeys.service.health.health import Health
from vpnkeys.service.health.questions import Questions
from vpnkeys.service.keys import KeyService
from vpnkeys.service.nodes.absent import AbsentNode
from vpnkeys.service.nodes.nodes import NodeService
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import Reporter


def alone(plane: Plane) -> KeyService:
    """The use cases of such a control plane, on the database of another one."""
    assert plane.keys.elsewhere is not None
    return replace(plane.keys, elsewhere=replace(plane.keys.elsewhere, has_local=False))


def test_equal_ports_of_two_nodes_are_both_shown() -> None:
    """Each node counts its own."""
    plane = Plane()
    agents = [with_agent(plane, name) for name in ("far", "other")]
    made = [plane.keys.create(Draft("x"), None, NodeWish(node=agent.record.ref.name)) for agent in agents]
    port = made[0].port
    table = port_table(plane.keys.list())
    shown = {name: used.key_id for name, used in table.used_ports.items()}
    assert shown == {str(port): made[0].id, f"other:{port}": made[1].id}
    assert {one.port for one in table.port_assignments.values()} == {port}
    for agent in agents:
        part = port_part(agent.record.ref, NodeState.UP, FAR_PORTS, plane.keys.list().on(agent.record.ref.id))
        assert (part.used_ports, part.available_ports, part.max_ports) == (1, 2, 3)


def test_keys_are_made_elsewhere_or_not_at_all() -> None:
    """Without a node none; with one there, also where nobody says so; `local` takes none, whoever asks for it."""
    plane = Plane()
    with pytest.raises(NodeSilent, match="local is drained"):
        alone(plane).create(Draft("x"))
    agent = with_agent(plane, "far")
    assert alone(plane).create(Draft("x")).node == agent.record.ref
    with pytest.raises(NodeSilent):
        alone(plane).create(Draft("x"), None, NodeWish(node="local"))


def test_keys_of_a_server_with_a_node_are_that_servers() -> None:
    """They are neither changed nor deleted here, where no Xray would follow; and no start ignores them."""
    plane = Plane()
    with_agent(plane, "far")
    key = plane.keys.create(Draft("x"), None, NodeWish(node="local"))
    with pytest.raises(KeyElsewhere):
        alone(plane).delete(key.id)
    with pytest.raises(KeyElsewhere):
        alone(plane).change(key.id, lambda _key: Draft("y"))
    with pytest.raises(StartRefused, match="1 keys live on the built-in node"):
        _refuse_local_keys(plane.world.store)
    plane.keys.delete(key.id)
    _refuse_local_keys(plane.world.store)


def test_local_is_shown_as_drained_and_in_no_request_about_xray() -> None:
    """Nothing is known of it; all nodes that are up decide whether all is synchronized."""
    plane = Plane()
    agent = with_agent(plane, "far")
    reporter = Reporter(plane.world.keys.reconciler, plane.keys.pool)
    nodes = NodeService(reporter, plane.keys.pool, plane.world.clock, plane.board, has_local=False)
    local, far = nodes.list()
    assert (local.state, local.pool, local.names_ready) == (NodeState.DRAINED, None, 0)
    assert far.state is NodeState.UP
    with pytest.raises(KeyElsewhere, match="--no-node"):
        nodes.asked(None)
    assert nodes.are_synchronized()
    assert nodes.pools_elsewhere() == ((agent.record.ref, NodeState.UP, agent.record.ports),)
    agent.is_silent = True
    with pytest.raises(NodeSilent):
        alone(plane).create(Draft("x"))
    assert not nodes.are_synchronized(), "it may have heard of what was not made"
    agent.is_silent = False
    agent.follow()
    assert nodes.are_synchronized()


def test_nothing_is_missing_where_no_xray_runs() -> None:
    """Health has no problem; a comparison finds nothing to do; what needs an Xray says that there is none."""
    world, absent = World(), AbsentNode()
    reconciler = Reconciler(world.store, absent, absent, replace(world.keys.reconciler.site, server_names=()))
    questions = Questions(None, lambda: pytest.fail("asked"), world.store, world.clock)
    health = Health(reconciler, tuple, questions, can_cut=True, full_cone=True, has_node=False)
    report = health.report()
    assert (report.status, report.problems, report.xray) == ("healthy", (), "absent")
    assert reconciler.reconcile() == Plan()
    with pytest.raises(XrayUnavailable, match="--no-node"):
        absent.sample()
    with pytest.raises(ConfigRefused, match="--no-node"):
        absent.check_file()
