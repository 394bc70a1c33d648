"""Adds the keys that are being started, and the keys that have to stop."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEPT = ("intents", "stops")


def upgrade() -> None:
    """Create both tables, and their numbers and triggers on SQLite, where they are kept in memory."""
    op.create_table(
        "intents",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("short_id", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_intents"),
        sa.UniqueConstraint("uuid", name="uq_intents_uuid"),
        sa.UniqueConstraint("port", name="uq_intents_port"),
        sa.UniqueConstraint("short_id", name="uq_intents_short_id"),
    )
    op.create_table(
        "stops",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("is_confirmed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_stops"),
    )
    if op.get_bind().dialect.name != "sqlite":
        return
    for name in _KEPT:
        op.execute(f"INSERT INTO generations (name, number) VALUES ('{name}', 0)")  # noqa: S608 - our own names
        for verb in ("insert", "update", "delete"):
            grow = f"UPDATE generations SET number = number + 1 WHERE name = '{name}'"  # noqa: S608 - our own names
            op.execute(f"CREATE TRIGGER {name}_{verb} AFTER {verb.upper()} ON {name} BEGIN {grow}; END")
