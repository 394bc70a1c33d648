"""Adds by how much counters were raised, whose an intent is, and the triggers that a PostgreSQL database lacked."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

_KEPT = ("keys", "tokens", "subscriptions", "webhooks", "intents", "stops")


def upgrade() -> None:
    """Add the columns; on PostgreSQL keep the audit log append-only, and count changes of tables kept in memory."""
    for name in ("up_added", "down_added"):
        op.add_column("traffic_usage", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("intents", sa.Column("owner", sa.String(44), nullable=False, server_default=sa.text("''")))
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(
        "CREATE FUNCTION vpnkeys_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_append_only()"
    )
    op.execute(
        "CREATE FUNCTION vpnkeys_count_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE generations SET number = number + 1 WHERE name = TG_TABLE_NAME; RETURN NULL; END $$"
    )
    for name in _KEPT:
        op.execute(f"INSERT INTO generations (name, number) VALUES ('{name}', 0)")  # noqa: S608 - our own names
        op.execute(
            f"CREATE TRIGGER {name}_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_count_change()"
        )
