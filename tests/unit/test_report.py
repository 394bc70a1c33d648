"""What the status endpoints say of config.json: bots compare it with the keys."""

from dataclasses import replace

from tests.support.memory import World

from vpnkeys.api.convert.system import validation_answer
from vpnkeys.domain.inbound import ForeignInbound
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.service.report import Reporter


def test_an_unreadable_file_lacks_keys_and_nothing_else() -> None:
    """The fields of the 2.3 line have UUIDs of keys; inbounds that only test server names are no keys."""
    world = World()
    key = world.make()
    world.node.file = FileView(FileState.INVALID, {}, problem="no JSON")
    answer = validation_answer(Reporter(world.keys.reconciler, world.keys.pool).sync())
    assert answer.missing_in_config == (key.uuid,)
    assert answer.config is not None
    assert set(answer.config.missing) > {key.uuid}, "what is ours and missing is still in the new field"


def test_the_operators_own_inbound_is_no_key_too_many() -> None:
    """Its customers stay in the list; what is counted against the keys are keys."""
    world = World()
    world.make()
    own = ForeignInbound("mine", 443, "vless", ("their-uuid",), (), "", ())
    world.node.file = replace(world.node.file, foreign=(own,))
    answer = validation_answer(Reporter(world.keys.reconciler, world.keys.pool).sync())
    assert answer.synced
    assert (answer.config_count, answer.keys_count) == (1, 1)
    assert "their-uuid" in answer.config_uuids
