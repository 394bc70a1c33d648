"""Adds to `epochs` what their samples have added: what has passed in all is read without the keys."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What was counted before stays out: only growth is shown."""
    for name in ("up_bytes", "down_bytes"):
        op.add_column("epochs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
