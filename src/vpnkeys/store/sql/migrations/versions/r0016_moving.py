"""Lets a key have a stop on each node where it has lived, nodes be replaced, and their tokens be renewed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to `nodes`, and the node to the primary key of `stops`."""
    empty = sa.text("''")
    for column in (
        sa.Column("private_key", sa.String(64), nullable=False, server_default=empty),
        sa.Column("token_since", sa.DateTime),
        sa.Column("next_digest", sa.String(64), nullable=False, server_default=empty),
    ):
        op.add_column("nodes", column)
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_stops()
        return
    op.drop_constraint("pk_stops", "stops", type_="primary")
    op.create_primary_key("pk_stops", "stops", ["key_id", "node_id"])


def _rebuild_stops() -> None:
    """Replace the table: SQLite cannot alter its primary key. Its triggers go with the old one."""
    op.create_table(
        "new_stops",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("is_confirmed", sa.Boolean, nullable=False),
        sa.Column("node_id", sa.Integer, nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("key_id", "node_id", name="pk_stops"),
    )
    columns = "key_id, uuid, port, at, is_confirmed, node_id"
    op.execute(f"INSERT INTO new_stops ({columns}) SELECT {columns} FROM stops")  # noqa: S608 - our own names
    op.drop_table("stops")
    op.rename_table("new_stops", "stops")
    for verb in ("insert", "update", "delete"):
        grow = "UPDATE generations SET number = number + 1 WHERE name = 'stops'"
        op.execute(f"CREATE TRIGGER stops_{verb} AFTER {verb.upper()} ON stops BEGIN {grow}; END")
