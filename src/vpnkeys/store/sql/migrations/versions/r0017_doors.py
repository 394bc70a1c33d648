"""Adds the inbounds of another panel that old links lead to."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and count its changes."""
    op.create_table(
        "doors",
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("listen", sa.String(64), nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("server_names", sa.Text, nullable=False),
        sa.Column("private_key", sa.String(64), nullable=False),
        sa.Column("short_ids", sa.Text, nullable=False),
        sa.Column("members", sa.Text, nullable=False),
        sa.Column("is_closing", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tag", name="pk_doors"),
        sa.UniqueConstraint("port", name="uq_doors_port"),
    )
    op.execute("INSERT INTO generations (name, number) VALUES ('doors', 0)")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER doors_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON doors "
            "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_count_change()"
        )
        return
    for verb in ("insert", "update", "delete"):
        grow = "UPDATE generations SET number = number + 1 WHERE name = 'doors'"
        op.execute(f"CREATE TRIGGER doors_{verb} AFTER {verb.upper()} ON doors BEGIN {grow}; END")
