"""Defines the triggers, and the tables by which they show what has changed. They keep the audit log append-only too.

Migrations of a released version have their own copies, which stay as they are.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import DDL, BigInteger, Column, MetaData, String, Table, event

from vpnkeys.store.sql.nodes.tables import metadata as _metadata

APPEND_ONLY = "the audit log is append-only"

# For each table that is kept in memory, a number that triggers raise with every change, of whatever process. Traffic is
# written all the time, so that keeping it would gain nothing.
generations = Table(
    "generations",
    _metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# Which keys were changed or deleted, each with the number that `keys` had then: of a hundred thousand, only those are
# read again.
changed_keys = Table(
    "changed_keys",
    _metadata,
    Column("key_id", String(36), primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),
)

CHANGED_KEYS = changed_keys.name
"""The number under this name is of what `changed_keys` says at all: where it is another one, all keys are to be read.

It begins with any number, so that two databases have different ones.
"""

_GROWS = "UPDATE generations SET number = number + 1 WHERE name ="

# The same kind of error on both databases: the statement is wrong, as with a constraint.
_REFUSE = f"BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation'; END"
# Servers that listen look at once, and would do so within a second anyway: what is notified is no truth.
_COUNT = f"BEGIN {_GROWS} TG_TABLE_NAME; PERFORM pg_notify('vpnkeys', ''); RETURN NULL; END"
_EMPTIED = f"BEGIN {_GROWS} '{CHANGED_KEYS}'; RETURN NULL; END"


def _noted(key_id: str) -> str:
    """Return the statement that notes a key's change."""
    return (
        f"INSERT INTO {CHANGED_KEYS} (key_id, number) VALUES ({key_id}, "  # noqa: S608 - our own names
        "(SELECT number FROM generations WHERE name = 'keys')) "
        "ON CONFLICT (key_id) DO UPDATE SET number = excluded.number"
    )


_NOTE = f"BEGIN {_noted('COALESCE(NEW.id, OLD.id)')}; RETURN NULL; END"


def add_triggers(metadata: MetaData, kept: Sequence[str]) -> None:
    """Have the triggers made after the tables, where those are made from their definition."""
    for dialect, statements in (("sqlite", on_sqlite), ("postgresql", on_postgresql)):
        for statement in statements(kept):
            # DDL takes % for a place to fill in.
            ddl = DDL(statement.replace("%", "%%")).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
            event.listen(metadata, "after_create", ddl)


def on_sqlite(kept: Iterable[str]) -> Iterator[str]:
    """Yield the statements for an SQLite database that keeps these tables in memory."""
    for verb in ("update", "delete"):
        yield (
            f"CREATE TRIGGER audit_no_{verb} BEFORE {verb.upper()} ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        )
    for name in kept:
        yield _begin_counting(name)
        for verb in ("insert", "update", "delete"):
            noted = f" {_noted('OLD.id' if verb == 'delete' else 'NEW.id')};" if name == "keys" else ""
            yield f"CREATE TRIGGER {name}_{verb} AFTER {verb.upper()} ON {name} BEGIN {_GROWS} '{name}';{noted} END"
    yield _begin_counting(CHANGED_KEYS, "abs(random() % 1000000000000)")


def on_postgresql(kept: Iterable[str]) -> Iterator[str]:
    """Yield the statements for a PostgreSQL database: by statement, so that a thousand rows are one change."""
    for function, body in (
        ("vpnkeys_append_only", _REFUSE),
        ("vpnkeys_count_change", _COUNT),
        ("vpnkeys_note_key", _NOTE),
        ("vpnkeys_keys_emptied", _EMPTIED),
    ):
        yield f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
    yield (
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_append_only()"
    )
    for name in kept:
        yield _begin_counting(name)
        yield (
            f"CREATE TRIGGER {name}_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_count_change()"
        )
    # The number grows before the rows are changed as well: they are noted under one that no other transaction has, and
    # that it does not show before its commit.
    yield (
        "CREATE TRIGGER keys_begin BEFORE INSERT OR UPDATE OR DELETE ON keys "
        "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_count_change()"
    )
    yield (
        "CREATE TRIGGER keys_note AFTER INSERT OR UPDATE OR DELETE ON keys "
        "FOR EACH ROW EXECUTE FUNCTION vpnkeys_note_key()"
    )
    yield (
        "CREATE TRIGGER keys_emptied AFTER TRUNCATE ON keys FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_keys_emptied()"
    )
    yield _begin_counting(CHANGED_KEYS, "floor(random() * 1000000000000)::bigint")


def refusing_writes(metadata: MetaData, why: str) -> Iterator[str]:
    """Yield the statements by which a PostgreSQL database refuses each change of a row, of any release of ours."""
    # An error of the database's state, which each release answers with 503 and these words.
    body = f"BEGIN RAISE EXCEPTION '{why}' USING ERRCODE = 'object_not_in_prerequisite_state'; END"
    yield f"CREATE FUNCTION vpnkeys_moved() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
    for table in metadata.sorted_tables:
        yield (
            f"CREATE TRIGGER vpnkeys_moved BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table.name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_moved()"
        )


def _begin_counting(name: str, number: str = "0") -> str:
    return f"INSERT INTO generations (name, number) VALUES ('{name}', {number})"  # noqa: S608 - our own names
