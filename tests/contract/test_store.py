"""What every Store promises: the one in memory, and SQL on SQLite and PostgreSQL."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from tests.strategies import key_lists
from tests.support.databases import Database, sqlite
from tests.support.slowness import slowness

from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice
from vpnkeys.interfaces import Store, Transaction

NOON = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere


def key(number: int, **changes: object) -> Key:
    """A key unlike all others."""
    made = Key(
        id=f"id-{number}",
        name=f"name {number}",
        uuid=f"uuid-{number}",
        created_at=NOON.replace(microsecond=number),
        is_active=True,
        port=10001 + number,
        short_id=f"{number:016x}",
        sni="a.example",
    )
    return replace(made, **changes)  # type: ignore[arg-type] # a test names fields that are there


def add(store: Store, *keys: Key) -> None:
    """Insert in one transaction."""
    with store.write() as transaction:
        for one in keys:
            transaction.insert(one)


def _empty(transaction: Transaction) -> None:
    before = transaction.keys()
    for one in before:
        transaction.delete(one.id)


def ports(store: Store) -> list[int]:
    """The ports of all keys."""
    found = store.keys()
    return [one.port for one in found]


@given(keys=key_lists())
@settings(
    max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)  # emptied each time
def test_keys_come_back_as_they_were(store: Store, keys: list[Key]) -> None:
    """Every field of every key, to the microsecond and in every script, in the order of making. So do changed ones."""
    with store.write() as transaction:
        _empty(transaction)
        for one in keys:
            transaction.insert(one)
        seen_inside = transaction.keys()
    assert store.keys() == seen_inside == tuple(keys)
    changed = tuple(replace(key(number), id=one.id, uuid=one.uuid, port=one.port) for number, one in enumerate(keys))
    with store.write() as transaction:
        for one in changed:
            transaction.update(one)
        seen_inside = transaction.keys()
    assert store.keys() == seen_inside == changed


def test_a_clock_that_is_behind_makes_no_key_the_oldest(database: Database, store: Store) -> None:
    """Keys stand in the order in which they were made, after changes too, and for a store that is opened later."""
    add(store, key(1), key(2))
    add(store, key(3, created_at=NOON.replace(year=1970)))
    add(store, key(4, created_at=NOON.replace(year=1971)))
    with store.write() as transaction:
        transaction.update(key(1, name="changed", created_at=NOON.replace(year=2100)))
        transaction.delete("id-2")
        seen_inside = transaction.keys()
    other = database.open()
    seen_later = other.keys()
    other.close()
    for keys in (seen_inside, store.keys(), seen_later):
        assert [one.id for one in keys] == ["id-1", "id-3", "id-4"]


def test_keys_that_are_brought_together_stand_by_their_time(store: Store) -> None:
    """An import has them in any order, and says when each was made where it comes from."""
    with store.write() as transaction:
        transaction.insert(key(3), key(1), key(2))
    found = store.keys()
    assert [one.id for one in found] == ["id-1", "id-2", "id-3"]


def test_an_exception_takes_everything_back(store: Store) -> None:
    """Whatever it is, even the end of the program."""
    add(store, key(1))
    for kind in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(kind), store.write() as transaction:  # noqa: PT012 - the promise is about the whole block
            transaction.insert(key(2))
            transaction.delete("id-1")
            raise kind
    assert store.keys() == (key(1),)


@pytest.mark.parametrize(
    "double",
    [
        key(2, id="id-1"),
        key(2, uuid="uuid-1"),
        key(2, port=10002),
        key(2, short_id="0" * 15 + "1"),
    ],
    ids=["id", "uuid", "port", "short id"],
)
def test_nothing_is_handed_out_twice(database: Database, store: Store, double: Key) -> None:
    """Id, UUID, port and short id are unique whatever the code above believes; nothing of the attempt is left."""
    add(store, key(1))
    with pytest.raises(database.conflict):
        add(store, key(3), double)
    assert store.keys() == (key(1),)


def test_names_need_not_be_unique(store: Store) -> None:
    """Two customers may have one name."""
    namesakes = (key(1, name="Иван"), key(2, name="Иван"))
    add(store, *namesakes)
    assert store.keys() == namesakes


def test_removing_what_is_not_there_is_no_error(store: Store) -> None:
    """A delete may be repeated."""
    add(store, key(1), key(2))
    for _ in range(2):
        with store.write() as transaction:
            transaction.delete("id-1")
    assert store.keys() == (key(2),)


def test_a_removed_keys_place_is_free(store: Store) -> None:
    """Its port and short id can be another's."""
    add(store, key(1))
    with store.write() as transaction:
        transaction.delete("id-1")
        transaction.insert(key(2, port=10002, short_id=key(1).short_id))
    assert ports(store) == [10002]


def test_ports_can_be_swapped(store: Store) -> None:
    """All at once; the time of the move is kept, other keys are not touched."""
    add(store, key(1), key(2), key(3))
    later = NOON.replace(hour=13)
    with store.write() as transaction:
        transaction.update(
            key(1, port=10003, port_assigned_at=later), key(2, port=10002, port_assigned_at=later, name="moved")
        )
    assert store.keys() == (
        key(1, port=10003, port_assigned_at=later),
        key(2, port=10002, port_assigned_at=later, name="moved"),
        key(3),
    )


def test_a_commit_is_seen_by_everybody_at_once(database: Database) -> None:
    """Two stores on one database are two processes: neither keeps an old answer for itself."""
    one, other = database.open(), database.open()
    for number in range(1, 6):
        writer, reader = (one, other) if number % 2 else (other, one)
        assert len(reader.keys()) == number - 1
        add(writer, key(number))
        assert len(reader.keys()) == len(writer.keys()) == number
    one.close()
    other.close()


def test_what_another_process_left_alone_stays_the_same_object(sql_database: Database) -> None:
    """Its JSON and whatever else is kept of a key is then right without a look at it: one change costs one key."""
    one, other = sql_database.open(), sql_database.open()
    add(one, key(1), key(2), key(3))
    before = one.keys()
    with other.write() as transaction:
        transaction.update(key(2, name="renamed"))
        transaction.delete(key(3).id)
        transaction.insert(key(4))
    assert one.keys() == (key(1), key(2, name="renamed"), key(4))
    assert one.keys()[0] is before[0]
    one.close()
    other.close()


def test_nobody_sees_what_is_not_committed(database: Database) -> None:
    """Readers do not wait for a writer, and do not see its work before its end."""
    one, other = database.open(), database.open()
    with one.write() as transaction:
        transaction.insert(key(1))
        assert other.keys() == one.keys() == ()
    assert other.keys() == one.keys() == (key(1),)
    one.close()
    other.close()


def test_concurrent_writers_lose_nothing(database: Database) -> None:
    """Eight threads on two stores, fifty read-and-write transactions each: all 400 are kept."""
    stores = [database.open(), database.open()]
    add(stores[0], key(0, port=1))

    def work(store: Store) -> None:
        for _ in range(50):
            with store.write() as transaction:
                (only,) = transaction.keys()
                transaction.update(replace(only, port=only.port + 1))

    threads = [threading.Thread(target=work, args=(stores[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ports(stores[0]) == [401]
    assert stores[1].keys() == stores[0].keys()
    for one in stores:
        one.close()


def test_answers_are_remembered_for_a_time(store: Store) -> None:
    """The last answer under a hash, if it is young enough; old ones can be forgotten."""
    later = NOON.replace(hour=13)
    second, third = KeptAnswer("k", "b2", "second", NOON), KeptAnswer("young", "b", "third", later)
    with store.write() as transaction:
        transaction.remember(KeptAnswer("k", "b1", "first", NOON))
        transaction.remember(second)
        transaction.remember(third)
        assert store.answered("k", NOON) is None
    assert store.answered("k", NOON) == second
    assert store.answered("k", later) is None
    with store.write() as transaction:
        transaction.forget(later)
    assert store.answered("k", NOON) is None
    assert store.answered("young", NOON) == third


def test_intents_reserve_and_are_no_keys(database: Database, store: Store) -> None:
    """Nobody sees a key in them; they are seen by every store at once, until they are dropped."""
    add(store, key(1))
    other = database.open()
    again = Intent.of(key(1), NOON)  # a key that is there is started again
    with store.write(durable=False) as transaction:
        transaction.put_intents([Intent.of(key(2), NOON), again])
        assert {*transaction.intents()} == {Intent.of(key(2), NOON), again}
    for one in (store, other):
        assert {*one.intents()} == {Intent.of(key(2), NOON), again}
        assert one.keys() == (key(1),)
    with other.write() as transaction:
        transaction.drop_intents()
        transaction.insert(key(2))
    assert store.intents() == other.intents() == ()
    assert store.keys() == (key(1), key(2))
    other.close()


@pytest.mark.parametrize("field", ["uuid", "port", "short_id"])
@pytest.mark.parametrize("there", ["key", "intent"])
def test_an_intent_has_nothing_of_another(database: Database, store: Store, field: str, there: str) -> None:
    """Neither of a key nor of another intent; nothing of the attempt is left."""
    mine, others = key(1), key(2)
    with store.write() as transaction:
        if there == "key":
            transaction.insert(others)
        else:
            transaction.put_intents([Intent.of(others, NOON)])
    before = store.intents()
    double = replace(Intent.of(mine, NOON), **{field: getattr(others, field)})
    with pytest.raises((ValueError, database.conflict)), store.write() as transaction:
        transaction.put_intents([double])
    assert store.intents() == before


def test_keys_that_move_may_take_each_other_s_port(store: Store) -> None:
    """When ports are handed out again, a key gets the one that its neighbour leaves; nobody gets one that stays."""
    add(store, key(1), key(2), key(3))
    swapped = [replace(Intent.of(key(one), NOON), port=key(other).port) for one, other in ((1, 2), (2, 1))]
    with store.write() as transaction:
        transaction.put_intents(swapped)
    assert {*store.intents()} == {*swapped}
    with store.write() as transaction:
        transaction.drop_intents()
    with pytest.raises(ValueError, match=r"id-3|not free"), store.write() as transaction:
        transaction.put_intents([swapped[0], replace(swapped[1], port=key(3).port)])


def test_stops_are_kept_beyond_their_keys(database: Database, store: Store) -> None:
    """One a key, changed and dropped by the key's id; the key itself may be gone."""
    add(store, key(1), key(2))
    one, two = (Stop(f"id-{number}", f"uuid-{number}", 10001 + number, NOON) for number in (1, 2))
    with store.write() as transaction:
        transaction.put_stops([one, two])
        transaction.delete("id-1")
    other = database.open()
    assert {*store.stops()} == {*other.stops()} == {one, two}
    confirmed = replace(one, is_confirmed=True)
    with other.write(durable=False) as transaction:
        transaction.put_stops([one, confirmed])
        transaction.drop_stops(["id-2", "never"])
    assert store.stops() == other.stops() == (confirmed,)
    other.close()


def test_ports_and_other_settings_change_at_once(store: Store) -> None:
    """A key that moves may be renamed in the same go; the log tells the two apart."""
    add(store, key(1))
    with store.write() as transaction:
        transaction.update(key(1, port=10003, name="moved"))
    assert store.keys() == (key(1, port=10003, name="moved"),)
    assert [record.entry.action for record in store.audit(2)] == ["key.changed", "key.moved"]


def test_a_lock_that_somebody_keeps_is_no_answer(database: Database) -> None:
    """Whoever waits too long for another writer is told that the database does not answer, and may try again."""
    one, other = database.open(), database.open()
    with one.write() as transaction:
        transaction.insert(key(1))
        began = time.monotonic()
        with pytest.raises(StoreUnavailable), other.write(patience_s=0.05):
            pytest.fail("two writers at once")
        assert time.monotonic() - began < 1.0 * slowness()
    with other.write() as transaction:
        transaction.insert(key(2))
    assert one.keys() == (key(1), key(2))
    one.close()
    other.close()


def test_a_lock_that_is_kept_for_long_delays_nobody_twice(
    sql_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first writer waits its whole time; those after it only briefly, until one of them had its turn."""
    monkeypatch.setattr("vpnkeys.store.sql.store.BRIEFLY_S", 0.1)
    one, other = sql_database.open(), sql_database.open()
    with one.write():
        with pytest.raises(StoreUnavailable), other.write(patience_s=0.5):
            pytest.fail("two writers at once")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable), other.write(patience_s=30.0):
            pytest.fail("two writers at once")
        assert time.monotonic() - began < 10.0
    add(other, key(1))
    assert one.keys() == (key(1),)
    one.close()
    other.close()


def test_many_processes_lose_nothing(sql_database: Database) -> None:
    """The service and a timer's command write at once, in a process each: all 400 changes are kept."""
    store = sql_database.open()
    add(store, key(0, port=1))
    work = [sys.executable, "-c", _ADD_100_TIMES, sql_database.url]
    children = [subprocess.Popen(work, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"r", "ready"
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    for _ in range(200):
        with store.write() as transaction:
            (only,) = transaction.keys()
            transaction.update(replace(only, port=only.port + 1))
    for child in children:
        with child:
            assert child.wait(60) == 0
    assert ports(store) == [401]
    store.close()


_ADD_100_TIMES = """
import dataclasses, sys
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore

store = SqlStore(open_engine(sys.argv[1]))
sys.stdout.write("r")
sys.stdout.flush()
sys.stdin.read()
for _ in range(100):
    with store.write() as transaction:
        (only,) = transaction.keys()
        transaction.update(dataclasses.replace(only, port=only.port + 1))
"""


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(keys=key_lists())
def test_what_is_kept_in_memory_is_what_lies_on_the_disk(database: Database, store: Store, keys: list[Key]) -> None:
    """After each change, ours or another's, a store that has just been opened reads the same."""
    with store.write() as transaction:
        _empty(transaction)
    for number, one in enumerate(keys):
        other = database.open()
        with (store, other)[number % 2].write() as transaction:
            transaction.insert(one)
            if number % 3 == 2:
                transaction.update(replace(one, name="renamed"))
            if number % 5 == 4:
                transaction.delete(keys[number - 1].id)
        with store.write() as transaction:
            transaction.ledger.open_account(one.uuid, number)
        fresh = database.open()
        assert store.keys() == other.keys() == fresh.keys()
        other.close()
        fresh.close()


@pytest.mark.parametrize("name", ["vpnkeys.db", "vpnkeys.db-wal"])
def test_a_file_that_was_removed_takes_no_write(tmp_path: Path, name: str) -> None:
    """SQLite would go on writing to it, and all of that would be gone at the next start; reads go on."""
    store = sqlite(tmp_path / "vpnkeys.db").open()
    with store.write():
        pass
    (tmp_path / name).rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="was removed or replaced"), store.write():
            pass
    assert store.keys() == ()
    (tmp_path / "away").rename(tmp_path / name)
    with store.write():
        pass


def test_what_was_notified_of_limits_is_seen_by_who_changes_it(store: Store) -> None:
    """Of the keys that are named, with what the transaction itself has stored."""
    add(store, key(1), key(2))
    with store.write() as transaction:
        transaction.put_notices({key(1).id: Notice(NOON, 80), key(2).id: Notice(None, 95)})
        assert transaction.notices({key(1).id, "unknown"}) == {key(1).id: Notice(NOON, 80)}
    with store.write() as transaction:
        transaction.put_notices({key(1).id: Notice(NOON, 95)})
        assert transaction.notices(()) == {}
        assert transaction.notices({key(1).id, key(2).id}) == {**store.notices(), key(1).id: Notice(NOON, 95)}
