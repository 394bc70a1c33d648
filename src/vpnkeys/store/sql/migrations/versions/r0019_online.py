"""Adds to `sightings` what only the control plane that took a report has known: who is online, and the host."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nothing is known until the next report, seconds later."""
    for column in (
        sa.Column("online", sa.Text, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("cpu_share", sa.Double),
        sa.Column("clock_ahead_s", sa.Double),
    ):
        op.add_column("sightings", column)
