"""Every cache of the source saves work, and a test fails when it does not: none stays that makes no difference."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine, Insert, Select, Table, Update, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import Generative
from tests.contract.test_store import key
from tests.support.process import REPOSITORY
from tests.unit.test_link import KEY

from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.nodes import LOCAL, Confirmed, Sighting
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.service import idempotency
from vpnkeys.store.sql import bulk, history, schema
from vpnkeys.store.sql.bulk import insert_into
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.nodes import placing
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import traffic_accounts, traffic_history, traffic_usage

SOURCE = REPOSITORY / "src" / "vpnkeys"

# Each cache, and the test that fails when it is switched off.
GUARDED_BY = {
    "api/pages/docs.py:_files": "tests/unit/test_static.py::test_the_pages_are_read_once",
    "api/pages/static.py:_asset": "tests/unit/test_static.py::test_a_file_is_packed_once",
    "api/pages/ui.py:_files": "tests/unit/test_static.py::test_the_pages_are_read_once",
    "domain/inbound.py:_key_inbounds": "tests/unit/test_memo.py::test_inbounds_of_many_keys_are_made_once",
    "domain/inbound.py:warm_inbounds": "tests/unit/test_memo.py::test_inbounds_of_many_keys_are_made_once",
    "service/idempotency.py:_as_json": "tests/unit/test_caches.py::test_the_converter_of_keys_is_built_once",
    "store/sql/bulk.py:_raising": "tests/unit/test_caches.py::test_the_statements_of_a_sample_are_made_once",
    "store/sql/bulk.py:_seeing": "tests/unit/test_caches.py::test_the_statements_of_a_sample_are_made_once",
    "store/sql/history.py:_adding": "tests/unit/test_caches.py::test_the_statements_of_a_sample_are_made_once",
    "store/sql/history.py:_resetting": "tests/unit/test_caches.py::test_a_report_makes_no_statement_anew",
    "store/sql/history.py:_using": "tests/unit/test_caches.py::test_a_report_makes_no_statement_anew",
    "store/sql/nodes/placing.py:_as_json": "tests/unit/test_caches.py::test_the_converter_of_keys_is_built_once",
    "store/sql/schema.py:_own_parts": "tests/unit/test_caches.py::test_a_database_to_compare_with_is_made_once",
    "wire/base.py:_meant": "tests/unit/test_unknown_fields.py::test_twenty_are_ignored_and_each_is_compared_once",
}


def caches() -> Iterator[str]:
    """Yield every function with a caching decorator, and every Memo in a variable of a module."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(map(_is_cache, node.decorator_list)):
                yield f"{path.relative_to(SOURCE)}:{node.name}"
            elif isinstance(node, ast.Assign) and "Memo(" in ast.unparse(node.value):
                yield f"{path.relative_to(SOURCE)}:{ast.unparse(node.targets[0])}"


def _is_cache(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).removeprefix("functools.").startswith(("cache", "lru_cache"))


def test_every_cache_has_a_test() -> None:
    """The table above is whole, and its tests are there."""
    assert sorted(caches()) == sorted(GUARDED_BY)
    for test in GUARDED_BY.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [idempotency, placing])
def test_the_converter_of_keys_is_built_once(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building it takes a thousand times as long as using it."""
    module._as_json.cache_clear()
    built: list[object] = []

    def build(kind: object) -> object:
        built.append(kind)
        return object()

    monkeypatch.setattr(module, "TypeAdapter", build)
    assert module._as_json() is module._as_json()
    assert len(built) == 1
    module._as_json.cache_clear()


def test_a_database_to_compare_with_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All migrations run for it, and `restore --newest` may look at many backups."""
    database = tmp_path / "vpnkeys.db"
    engine = open_engine(f"sqlite:///{database}")
    migrate(engine)
    engine.dispose()
    schema._own_parts.cache_clear()
    made: list[str] = []

    def counted(engine: Engine, revision: str) -> None:
        made.append(revision)
        migrate(engine, revision)

    monkeypatch.setattr(schema, "migrate", counted)
    assert (schema.foreign_parts(database), schema.foreign_parts(database)) == ([], [])
    assert len(made) == 1


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[SqlStore, list[str]]]:
    """Return a store, and the statements that it has sent to its database so far."""
    engine = open_engine(f"sqlite:///{tmp_path / 'vpnkeys.db'}")
    migrate(engine)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *called: statements.append(called[2]))
    store = SqlStore(engine)
    yield store, statements
    store.close()


def test_the_store_reads_again_only_what_has_changed(store: tuple[SqlStore, list[str]]) -> None:
    """Not for each question, nor after its own change of keys; a change of one table is no change of another."""
    db, statements = store
    db.keys(), db.tokens(), db.intents(), db.stops()
    read = list(statements)
    assert db.keys() is db.keys()
    db.tokens(), db.subscriptions(), db.webhooks()
    assert statements == read
    with db.write() as transaction:
        transaction.insert(KEY)
    statements.clear()
    assert db.keys() == (KEY,)
    assert not any("FROM keys" in statement or "FROM tokens" in statement for statement in statements)


def test_the_statements_of_a_sample_are_made_once(
    store: tuple[SqlStore, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make them takes longer than to carry them out for a hundred keys."""
    db, _ = store
    made: list[Table] = []

    def counted(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
        made.append(table)
        return insert_into(dialect, table)

    for module, statement in ((bulk, bulk._raising), (bulk, bulk._seeing), (history, history._adding)):
        monkeypatch.setattr(module, "insert_into", counted)
        statement.cache_clear()
    with db.write() as transaction:
        transaction.insert(KEY)
        for used in (1, 2):
            added = transaction.ledger.merge(Samples("life", {KEY.uuid: Bytes(used, used)}), KEY.created_at)
            assert added == {KEY.uuid: Bytes(1, 1)}
    assert made == [traffic_usage, traffic_history, traffic_accounts]


def test_a_report_makes_no_statement_anew(store: tuple[SqlStore, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what its keys have used since; all that differs are parameters."""
    db, _ = store
    made: list[object] = []

    def counted(kind: type, method: str) -> None:
        original = getattr(kind, method)

        def count(statement: object, *args: object, **named: object) -> object:
            made.append(statement)
            return original(statement, *args, **named)

        monkeypatch.setattr(kind, method, count)

    node_id, seen = LOCAL.id, Sighting(KEY.created_at, "1", "26", ("a.test",), Confirmed("mark", 1, {}))
    with db.write() as transaction:
        transaction.insert(KEY)
    for used in (1, 2):
        if used == 2:
            for kind, method in (
                (Select, "__init__"),
                (Insert, "__init__"),
                (Update, "__init__"),
                (Generative, "_generate"),
            ):
                counted(kind, method)
        with db.write() as transaction:
            transaction.ledger.merge(Samples("life", {KEY.account: Bytes(used, used)}), KEY.created_at)
            assert (transaction.nodes.confirmed(node_id) is None) == (used == 1)
            transaction.nodes.put_sighting(node_id, seen, {KEY.account: 1})
        assert db.used_bytes({KEY.account: None}) == {KEY.account: 2 * used}
        assert db.used_bytes({KEY.account: KEY.created_at.replace(minute=0)}) == {KEY.account: 2 * used}
    assert made == []


def test_what_has_passed_in_all_is_read_without_the_keys(store: tuple[SqlStore, list[str]]) -> None:
    """It is looked at every few seconds, and there may be a hundred thousand keys."""
    db, statements = store
    with db.write() as transaction:
        transaction.insert(KEY)
        transaction.ledger.merge(Samples("life", {KEY.account: Bytes(1, 2)}), KEY.created_at)
    statements.clear()
    assert sum(map(sum, db.tally().by_node.values())) == 3
    read = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(read) == 1
    assert "traffic_usage" not in read[0]


def test_what_many_keys_have_alike_is_one_object(tmp_path: Path, store: tuple[SqlStore, list[str]]) -> None:
    """A hundred thousand keys with the same limits and server name take a third less memory."""
    limits = Limits(traffic_bytes=10**12, traffic_window=Window.MONTH)
    with store[0].write() as transaction:
        transaction.insert(*(key(number, limits=limits, sni="a.example") for number in range(1, 10)))
    another = SqlStore(open_engine(f"sqlite:///{tmp_path / 'vpnkeys.db'}"))
    found = another.keys()
    assert found == store[0].keys()
    assert [len({id(getattr(one, name)) for one in found}) for name in ("limits", "sni", "flow", "note")] == [1] * 4
    another.close()
