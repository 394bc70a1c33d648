"""What only a database that several processes reach by a socket can get wrong, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError
from tests.contract.test_store import NOON, add, key
from tests.support.on_postgres import ROUNDS, at_once, make_keys, merge_in_turn, merge_without_turns, upsert
from tests.support.postgres import OWNER, Cluster
from tests.support.slowness import slowness

from vpnkeys.domain.errors import StartRefused, StoreUnavailable
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.ops.startover import refuse_starting_over
from vpnkeys.settings import load_settings
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import HEAD, current_revision
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import KEPT, metadata
from vpnkeys.store.sql.triggers import CHANGED_KEYS

LIVE = Samples("life", {key(at).uuid: Bytes(1, 1) for at in range(1, 4)})
REPEATS = 50


@pytest.fixture
def url(postgres: Cluster) -> str:
    """An empty database."""
    return postgres.cleared_database()


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store on it."""
    with closing(SqlStore(open_engine(url))) as store:
        yield store


@pytest.mark.parametrize("merge", [merge_in_turn, merge_without_turns], ids=["in turn", "without turns"])
def test_a_sample_that_two_processes_merge_counts_once(url: str, store: SqlStore, merge: object) -> None:
    """Three hundred times: also without turns the greater value counts, and hours get what that added."""
    add(store, *(key(at) for at in range(1, 4)))
    with store.write() as transaction:
        transaction.ledger.merge(LIVE, NOON)
    assert at_once(merge, (url,), (url,)) == [ROUNDS, ROUNDS]
    for uuid in LIVE.usage:
        points = store.history(uuid, NOON, NOON + timedelta(hours=1))
        assert store.traffic(uuid).total_bytes == sum(point.usage.total for point in points) == ROUNDS * 110


@pytest.mark.parametrize("for_s", [3.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_upserts_in_any_order_do_not_wait_for_each_other(url: str, store: SqlStore, for_s: float) -> None:
    """Eight processes merge overlapping samples of fifty keys, each in an order of its own: no deadlock."""
    add(store, *(key(at) for at in range(1, 51)))
    with store.write() as transaction:
        transaction.ledger.merge(LIVE, NOON)
    done = at_once(upsert, *((url, seed, for_s) for seed in range(8)))
    assert min(done) > 0, done
    assert sum(store.counted_by_key()[key(1).uuid]) > 0


def test_one_idempotency_key_at_two_processes_makes_one_key(url: str, store: SqlStore) -> None:
    """Fifty times, at the same moment: the same key for both, and no error."""
    first, second = at_once(make_keys, (url, REPEATS), (url, REPEATS))
    assert first == second
    assert len({*first}) == len(store.keys()) == REPEATS
    assert {one.id for one in store.keys()} == {*first}  # noqa: SIM118 - not a dict


def test_nobody_alters_the_audit_log(url: str, store: SqlStore) -> None:
    """Not even the owner of the tables, by whatever statement."""
    add(store, key(1))
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                connection.execute(statement.encode())
    assert [record.entry.action for record in store.audit(9)] == ["key.created"]


def test_servers_that_migrate_at_once_all_begin(postgres: Cluster) -> None:
    """The first one migrates, the others find it done; the shape is that of a SQLite database."""
    url = postgres.empty_database()
    with ThreadPoolExecutor(3) as pool:
        engines = [*pool.map(open_migrated, [url] * 3)]
    assert {current_revision(engine) for engine in engines} == {HEAD}
    with engines[0].begin() as connection:
        assert {"keys", "generations", "audit"} <= {*inspect(connection).get_table_names()}
    for engine in engines:
        engine.dispose()


def test_a_migrated_database_has_the_shape_of_the_tables(postgres: Cluster) -> None:
    """Nothing is missing, nothing is too much; and each table that is kept in memory has its number."""
    # A new one: days to which something was written have partitions, with indices of their own.
    with closing(SqlStore(open_engine(postgres.database()))) as store, store._engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        numbers = {*connection.scalars(text("SELECT name FROM generations"))}
        assert numbers == {CHANGED_KEYS, *(table.name for table in KEPT)}


def test_a_look_costs_one_transaction_and_reads_only_what_changed(store: SqlStore) -> None:
    """Keys that nobody changed are the same tuple; a change by whatever program is seen by the next look."""
    add(store, key(1), key(2))
    before = store.keys()
    assert store.keys() is before
    with store._engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text("UPDATE keys SET name = 'by hand' WHERE id = 'id-2'"))
    assert [one.name for one in store.keys()] == ["name 1", "by hand"]  # noqa: SIM118 - not a dict


def test_no_event_loop_waits_for_it(postgres: Cluster, url: str, store: SqlStore) -> None:
    """What was looked at before is read at once, also while the server says nothing; nothing else is asked there."""
    add(store, key(1))

    async def in_event_loop() -> float:
        began = time.monotonic()
        assert store.keys() == (key(1),)
        assert store.tokens() == ()
        with pytest.raises(RuntimeError, match="event loop"):
            store.totals()
        with pytest.raises(RuntimeError, match="event loop"), store.write():
            pass
        return time.monotonic() - began

    postgres.send_signal(signal.SIGSTOP)
    try:
        assert asyncio.run(in_event_loop()) < 0.2 * slowness()
    finally:
        postgres.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql://{owner}@/nosuch?host={directory}", 'database "nosuch" does not exist'),
        ("postgresql://stranger@/postgres?host={directory}", 'role "stranger" does not exist'),
        ("postgresql://{owner}@/postgres?host={directory}/none", "No such file or directory"),
        ("postgresql://{owner}@127.0.0.1:1/postgres", "Connection refused"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(postgres: Cluster, address: str, told: str) -> None:
    """The database, the user, the server: no traceback, and no line after the first."""
    url = address.format(owner=OWNER, directory=postgres.directory)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=told) as raised:
        open_migrated(url)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - began < 3 * slowness()


def with_store(url: str) -> None:
    """Make a store on a database, and close its connections whether that succeeds or not."""
    engine = open_engine(url)
    try:
        SqlStore(engine)
    finally:
        engine.dispose()


def test_missing_rights_are_said_in_one_sentence(postgres: Cluster) -> None:
    """A user that may not make tables; one that may not read them."""
    url = postgres.empty_database()
    name = url.split("/")[3].partition("?")[0]
    postgres.execute("CREATE ROLE guest LOGIN")
    guest = url.replace(f"{OWNER}@", "guest@")
    try:
        with pytest.raises(StoreUnavailable, match="may not do this"):
            open_migrated(guest)
        open_migrated(url).dispose()
        with pytest.raises(StoreUnavailable, match="may not do this"):
            with_store(guest)
        postgres.execute("DROP TABLE tokens", name)
        with pytest.raises(StoreUnavailable, match="tables are missing"):
            with_store(url)
    finally:
        postgres.execute("DROP ROLE guest")


def test_a_row_that_somebody_else_made_first_is_no_bug(store: SqlStore) -> None:
    """A rule that the database alone knows still is one."""
    with pytest.raises(IntegrityError, match="port_range"):
        add(store, replace(key(1), port=0))


def test_a_start_on_an_empty_database_is_refused_where_there_were_keys(postgres: Cluster, tmp_path: Path) -> None:
    """As with a file: config.json has keys, and the database has no tables."""
    inbound = {"tag": "key-1", "settings": {"clients": [{"id": key(1).uuid}]}}
    (tmp_path / "config.json").write_text(json.dumps({"inbounds": [inbound]}))
    url = postgres.empty_database()
    settings = load_settings({"VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_DATABASE_URL": url})
    with pytest.raises(StartRefused, match="VPNKEYS_DATABASE_URL is empty"):
        refuse_starting_over(settings, start_empty=False)
    refuse_starting_over(settings, start_empty=True)
