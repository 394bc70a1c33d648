"""Adds the second UUID of keys that got another one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and the index that keeps its values unique."""
    op.add_column("keys", sa.Column("new_uuid", sa.String(36)))
    op.create_index("ix_keys_new_uuid", "keys", ["new_uuid"], unique=True)
