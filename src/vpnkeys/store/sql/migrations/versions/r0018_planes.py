"""Adds what several control planes share: keys that are being placed, what nodes have confirmed, and who does what."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_GROW = "UPDATE generations SET number = number + 1 WHERE name ="


def upgrade() -> None:
    """Create the tables, add columns to `sightings`, and let PostgreSQL notify servers of changes."""
    op.create_table(
        "placements",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("owner", sa.String(44), nullable=False),
        sa.Column("answer_hash", sa.String(64), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("key_id", name="pk_placements"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(44), nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    for column in (
        sa.Column("mark", sa.String(64), nullable=False, server_default=sa.text("''")),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("failed", sa.Text, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("is_silent", sa.Boolean, nullable=False, server_default=sa.text("false")),
    ):
        op.add_column("sightings", column)
    op.execute("INSERT INTO generations (name, number) VALUES ('placements', 0)")
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("insert", "update", "delete"):
            op.execute(
                f"CREATE TRIGGER placements_{verb} AFTER {verb.upper()} ON placements BEGIN {_GROW} 'placements'; END"
            )
        return
    body = f"BEGIN {_GROW} TG_TABLE_NAME; PERFORM pg_notify('vpnkeys', ''); RETURN NULL; END"
    op.execute(f"CREATE OR REPLACE FUNCTION vpnkeys_count_change() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    op.execute(
        "CREATE TRIGGER placements_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON placements "
        "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_count_change()"
    )
