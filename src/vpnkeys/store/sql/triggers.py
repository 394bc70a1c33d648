"""Defines the triggers: they keep the audit log append-only, and count the changes of tables that are kept in memory.

Migrations of a released version have their own copies, which stay as they are.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import DDL, MetaData, event

APPEND_ONLY = "the audit log is append-only"

_GROWS = "UPDATE generations SET number = number + 1 WHERE name ="

# The same kind of error on both databases: the statement is wrong, as with a constraint.
_REFUSE = f"BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation'; END"
# Servers that listen look at once, and would do so within a second anyway: what is notified is no truth.
_COUNT = f"BEGIN {_GROWS} TG_TABLE_NAME; PERFORM pg_notify('vpnkeys', ''); RETURN NULL; END"


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
            yield f"CREATE TRIGGER {name}_{verb} AFTER {verb.upper()} ON {name} BEGIN {_GROWS} '{name}'; END"


def on_postgresql(kept: Iterable[str]) -> Iterator[str]:
    """Yield the statements for a PostgreSQL database: by statement, so that a thousand rows are one change."""
    for function, body in (("vpnkeys_append_only", _REFUSE), ("vpnkeys_count_change", _COUNT)):
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


def _begin_counting(name: str) -> str:
    return f"INSERT INTO generations (name, number) VALUES ('{name}', 0)"  # noqa: S608 - our own names
