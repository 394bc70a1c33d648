"""What every database promises of doors."""

from contextlib import suppress
from dataclasses import replace

import orjson
from tests.support.databases import Database
from tests.unit.test_doors import DOOR, FIRST, KEYS

from vpnkeys.domain.flow import Flow
from vpnkeys.interfaces import Store
from vpnkeys.store.sql.rows import door_row, to_door


def test_doors_are_kept_as_they_are(store: Store) -> None:
    """Each by its tag, in the order of their ports; one that is put again takes the place of the first."""
    assert store.doors() == ()
    other = replace(DOOR, tag="vpnkeys-door-other", port=80, listen="127.0.0.1", members=())
    with store.write() as transaction:
        transaction.nodes.put_door(DOOR)
        transaction.nodes.put_door(other)
    assert store.doors() == (other, DOOR)
    changed = replace(DOOR, is_closing=True, members=DOOR.members[:1])
    with store.write() as transaction:
        transaction.nodes.put_door(changed)
    assert store.doors() == (other, changed)
    with store.write() as transaction:
        transaction.nodes.remove_door(DOOR.tag)
        transaction.nodes.remove_door("no such tag")
    assert store.doors() == (other,)


def test_a_member_with_a_flow_that_xray_does_not_have_is_none() -> None:
    """Stored by an import before flows were read, it would keep Xray from starting."""
    flows = ("xtls-rprx-direct", "xtls-rprx-vision-udp443", "")
    members = [[one.key_id, one.uuid, flow, "", ""] for one, flow in zip(DOOR.members, flows, strict=True)]
    found = to_door({**door_row(DOOR), "members": orjson.dumps(members)})
    assert [(one.key_id, one.flow) for one in found.members] == [
        (DOOR.members[1].key_id, Flow.VISION),
        (DOOR.members[2].key_id, Flow.NONE),
    ]


def test_another_process_sees_them(database: Database) -> None:
    """As soon as they are stored."""
    one, other = database.open(), database.open()
    assert other.doors() == ()
    with one.write() as transaction:
        transaction.nodes.put_door(DOOR)
    other.look()
    assert other.doors() == (DOOR,)
    one.close()
    other.close()


def test_a_deleted_key_leaves_the_door_to_the_others(store: Store) -> None:
    """What the door knows of it lets nobody in."""
    with store.write() as transaction:
        transaction.insert(*KEYS)
        transaction.nodes.put_door(DOOR)
    with store.write() as transaction:
        transaction.delete(FIRST.id)
    assert store.doors() == (DOOR,)


def test_what_is_not_committed_is_not_there(store: Store) -> None:
    """As with all else."""

    class Broken(Exception):
        pass

    def break_off() -> None:
        with store.write() as transaction:
            transaction.nodes.put_door(DOOR)
            raise Broken

    with suppress(Broken):
        break_off()
    assert store.doors() == ()
