"""Adds the numbers by which the server sees that a table kept in memory has changed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEPT = ("keys", "tokens", "subscriptions", "webhooks")


def upgrade() -> None:
    """Create the table of numbers, and on SQLite, where tables are kept in memory, the triggers that raise them."""
    generations = op.create_table(
        "generations",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_generations"),
    )
    if op.get_bind().dialect.name != "sqlite":
        return
    op.bulk_insert(generations, [{"name": name, "number": 0} for name in _KEPT])
    for name in _KEPT:
        for verb in ("insert", "update", "delete"):
            grow = f"UPDATE generations SET number = number + 1 WHERE name = '{name}'"  # noqa: S608 - our own names
            op.execute(f"CREATE TRIGGER {name}_{verb} AFTER {verb.upper()} ON {name} BEGIN {grow}; END")
