"""Adds what is known of a node elsewhere, the tokens by which agents join, and when nodes were last seen."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to `nodes`, and the tables."""
    empty = sa.text("''")
    for column in (
        sa.Column("state", sa.String(8), nullable=False, server_default="up"),
        sa.Column("address", sa.String(253), nullable=False, server_default=empty),
        sa.Column("first_port", sa.Integer),
        sa.Column("last_port", sa.Integer),
        sa.Column("public_key", sa.String(64), nullable=False, server_default=empty),
        sa.Column("token_digest", sa.String(64), nullable=False, server_default=empty),
    ):
        op.add_column("nodes", column)
    op.create_table(
        "joins",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("node_id", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
        sa.Column("used_at", sa.DateTime),
        sa.PrimaryKeyConstraint("digest", name="pk_joins"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], ondelete="CASCADE", name="fk_joins_node_id_nodes"),
    )
    op.create_table(
        "sightings",
        sa.Column("node_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("xray_version", sa.String(64), nullable=False),
        sa.Column("names", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("node_id", name="pk_sightings"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], ondelete="CASCADE", name="fk_sightings_node_id_nodes"),
    )
