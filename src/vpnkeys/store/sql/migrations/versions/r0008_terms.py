"""Adds terms that begin with the first byte, and what was notified of traffic limits."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty for the keys that exist, and the table."""
    op.add_column("keys", sa.Column("expires_after_s", sa.BigInteger))
    op.create_table(
        "limit_notices",
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("window_start", sa.DateTime),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_limit_notices"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_limit_notices_key_id_keys", ondelete="CASCADE"),
    )
