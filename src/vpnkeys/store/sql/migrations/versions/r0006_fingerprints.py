"""Adds the fingerprint of a key's clients."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; keys without a fingerprint of their own follow the server's setting."""
    op.add_column("keys", sa.Column("fingerprint", sa.String(16)))
