"""Lets a subscription have several keys: a row for each of them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew, with an id for each subscription; those that are there keep their addresses."""
    old = sa.table("subscriptions", sa.column("key_id"), sa.column("token_hash"), sa.column("created_at", sa.DateTime))
    kept = op.get_bind().execute(sa.select(old)).mappings().all()
    op.drop_table("subscriptions")
    made = op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", "key_id", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_subscriptions_key_id_keys", ondelete="CASCADE"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("insert", "update", "delete"):
            grow = "UPDATE generations SET number = number + 1 WHERE name = 'subscriptions'"
            op.execute(f"CREATE TRIGGER subscriptions_{verb} AFTER {verb.upper()} ON subscriptions BEGIN {grow}; END")
    op.bulk_insert(made, [{**row, "id": row["key_id"], "position": 0} for row in kept])
