"""Adds the limits of keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add limits to keys, and to accounts what enforcing them needs."""
    for column in (
        sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("expires_at", sa.DateTime),
        sa.Column("traffic_limit_bytes", sa.BigInteger),
        sa.Column("traffic_limit_window", sa.String(8), nullable=False, server_default="total"),
        sa.Column("max_devices", sa.Integer),
        sa.Column("speed_limit_mbps", sa.Integer),
        sa.Column("judged", sa.String(8), nullable=False, server_default="active"),
    ):
        op.add_column("keys", column)
    for column in (
        sa.Column("reset_hour", sa.DateTime),
        sa.Column("reset_hour_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_seen_at", sa.DateTime),
    ):
        op.add_column("traffic_accounts", column)
