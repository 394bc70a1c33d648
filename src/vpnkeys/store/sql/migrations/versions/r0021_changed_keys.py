"""Adds `changed_keys`: which keys have changed since a look, so that the others need not be read again."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_GROW = "UPDATE generations SET number = number + 1 WHERE name ="


def _noted(key_id: str) -> str:
    return (
        f"INSERT INTO changed_keys (key_id, number) VALUES ({key_id}, "  # noqa: S608 - our own names
        "(SELECT number FROM generations WHERE name = 'keys')) "
        "ON CONFLICT (key_id) DO UPDATE SET number = excluded.number"
    )


def upgrade() -> None:
    """Create the table, and let triggers write it, whatever release changes the keys."""
    op.create_table(
        "changed_keys",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_changed_keys"),
    )
    op.create_index("ix_changed_keys_number", "changed_keys", ["number"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    any_number = "abs(random() % 1000000000000)" if is_sqlite else "floor(random() * 1000000000000)::bigint"
    op.execute(f"INSERT INTO generations (name, number) VALUES ('changed_keys', {any_number})")  # noqa: S608 - as above
    if is_sqlite:
        for verb, key_id in (("insert", "NEW.id"), ("update", "NEW.id"), ("delete", "OLD.id")):
            op.execute(f"DROP TRIGGER keys_{verb}")
            op.execute(
                f"CREATE TRIGGER keys_{verb} AFTER {verb.upper()} ON keys BEGIN {_GROW} 'keys'; {_noted(key_id)}; END"
            )
        return
    for function, body in (
        ("vpnkeys_note_key", f"BEGIN {_noted('COALESCE(NEW.id, OLD.id)')}; RETURN NULL; END"),
        ("vpnkeys_keys_emptied", f"BEGIN {_GROW} 'changed_keys'; RETURN NULL; END"),
    ):
        op.execute(f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    for name, when, each, function in (
        ("keys_begin", "BEFORE INSERT OR UPDATE OR DELETE", "STATEMENT", "vpnkeys_count_change"),
        ("keys_note", "AFTER INSERT OR UPDATE OR DELETE", "ROW", "vpnkeys_note_key"),
        ("keys_emptied", "AFTER TRUNCATE", "STATEMENT", "vpnkeys_keys_emptied"),
    ):
        op.execute(f"CREATE TRIGGER {name} {when} ON keys FOR EACH {each} EXECUTE FUNCTION {function}()")
