"""Keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first table."""
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
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("uuid", name="uq_keys_uuid"),
        sa.UniqueConstraint("port", name="uq_keys_port"),
        sa.UniqueConstraint("short_id", name="uq_keys_short_id"),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name="ck_keys_port_range"),
    )
