"""Adds keys, their traffic, and the answers to requests with an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "keys",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("short_id", sa.String(16), nullable=False),
        sa.Column("sni", sa.String(253), nullable=False),
        sa.Column("flow", sa.String(32), nullable=False),
        sa.Column("port_assigned_at", sa.DateTime),
        # Names are written out, because a later migration can change a constraint only by its name.
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("uuid", name="uq_keys_uuid"),
        sa.UniqueConstraint("port", name="uq_keys_port"),
        sa.UniqueConstraint("short_id", name="uq_keys_short_id"),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_keys_port_range")),
    )
    _per_key("traffic_accounts", [], ["base_bytes", "offset_bytes"])
    _per_key("traffic_usage", [sa.Column("epoch", sa.String(48), nullable=False)], ["up_bytes", "down_bytes"])
    _per_key("traffic_hours", [sa.Column("hour", sa.DateTime, nullable=False)], ["up_bytes", "down_bytes"])
    op.create_table(
        "epochs",
        sa.Column("epoch", sa.String(48), nullable=False),
        sa.Column("first_sample_at", sa.DateTime, nullable=False),
        sa.Column("last_sample_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("ended_cleanly", sa.Boolean),
        sa.PrimaryKeyConstraint("epoch", name="pk_epochs"),
    )
    op.create_table(
        "idempotency",
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])


def _per_key(table: str, more_keys: list[sa.Column[object]], numbers: list[str]) -> None:
    """Create a table of numbers whose rows are deleted with their key."""
    op.create_table(
        table,
        sa.Column("key_uuid", sa.String(36), nullable=False),
        *more_keys,
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        sa.PrimaryKeyConstraint("key_uuid", *(column.name for column in more_keys), name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["key_uuid"], ["keys.uuid"], ondelete="CASCADE", name=f"fk_{table}_key_uuid_keys"),
    )
