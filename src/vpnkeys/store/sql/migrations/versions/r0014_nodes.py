"""Adds nodes, of which each key, each life of an Xray and what was counted in it are."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table with the built-in node, and make all rows that are there its own."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    _add_nodes(is_sqlite=is_sqlite)
    op.add_column("stops", _node_id())
    if is_sqlite:
        _rebuild_all()
        return
    for table in ("keys", "intents"):
        op.add_column(table, _node_id())
        op.drop_constraint(f"uq_{table}_port", table, type_="unique")
        op.create_unique_constraint(f"uq_{table}_node_id", table, ["node_id", "port"])
    op.create_foreign_key("fk_keys_node_id_nodes", "keys", "nodes", ["node_id"], ["id"])
    for table, place in (("traffic_usage", ["key_uuid", "node_id", "epoch"]), ("epochs", ["node_id", "epoch"])):
        op.add_column(table, _node_id())
        op.drop_constraint(f"pk_{table}", table, type_="primary")
        op.create_primary_key(f"pk_{table}", table, place)


def _node_id() -> sa.Column[int]:
    return sa.Column("node_id", sa.Integer, nullable=False, server_default="1")


def _add_nodes(*, is_sqlite: bool) -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("group_name", sa.String(64), nullable=False, server_default="default"),
        sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
        sa.Column("max_keys", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
        sqlite_autoincrement=True,
    )
    # Without its id, so that PostgreSQL's sequence goes on after it.
    op.execute("INSERT INTO nodes (name) VALUES ('local')")
    op.execute("INSERT INTO generations (name, number) VALUES ('nodes', 0)")
    if is_sqlite:
        _count_changes("nodes")
    else:
        op.execute(
            "CREATE TRIGGER nodes_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nodes "
            "FOR EACH STATEMENT EXECUTE FUNCTION vpnkeys_count_change()"
        )


def _count_changes(table: str) -> None:
    for verb in ("insert", "update", "delete"):
        grow = f"UPDATE generations SET number = number + 1 WHERE name = '{table}'"  # noqa: S608 - our own names
        op.execute(f"CREATE TRIGGER {table}_{verb} AFTER {verb.upper()} ON {table} BEGIN {grow}; END")


def _rebuild_all() -> None:
    """Replace the tables whose constraints change: SQLite cannot alter those.

    Raises RuntimeError, and with it the migration, where dropping the keys would delete what refers to them.
    """
    if op.get_bind().exec_driver_sql("PRAGMA foreign_keys").scalar():
        msg = "migrations of SQLite run without foreign keys (`store/sql/migrate.py`)"
        raise RuntimeError(msg)
    _rebuild("keys", _create_keys)
    op.create_index("ix_keys_new_uuid", "keys", ["new_uuid"], unique=True)
    op.create_index("ix_keys_number", "keys", ["number"], unique=True)
    _count_changes("keys")
    _rebuild("intents", _create_intents)
    _count_changes("intents")
    _rebuild("traffic_usage", _create_usage)
    _rebuild("epochs", _create_epochs)


def _rebuild(table: str, create: Callable[[str], sa.Table]) -> None:
    """Put a new table in place of an old one, with its rows; its indices and triggers go with the old one."""
    new = f"new_{table}"
    columns = ", ".join(column.name for column in create(new).columns if column.name != "node_id")
    op.execute(f"INSERT INTO {new} ({columns}) SELECT {columns} FROM {table}")  # noqa: S608 - our own names
    op.drop_table(table)
    op.rename_table(new, table)


def _create_keys(table: str) -> sa.Table:
    return op.create_table(
        table,
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("short_id", sa.String(16), nullable=False),
        sa.Column("sni", sa.String(253), nullable=False),
        sa.Column("flow", sa.String(32), nullable=False),
        sa.Column("port_assigned_at", sa.DateTime),
        sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("expires_at", sa.DateTime),
        sa.Column("traffic_limit_bytes", sa.BigInteger),
        sa.Column("traffic_limit_window", sa.String(8), nullable=False, server_default="total"),
        sa.Column("max_devices", sa.Integer),
        sa.Column("speed_limit_mbps", sa.Integer),
        sa.Column("judged", sa.String(8), nullable=False, server_default="active"),
        sa.Column("fingerprint", sa.String(16)),
        sa.Column("new_uuid", sa.String(36)),
        sa.Column("expires_after_s", sa.BigInteger),
        sa.Column("number", sa.Integer),
        _node_id(),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("uuid", name="uq_keys_uuid"),
        sa.UniqueConstraint("short_id", name="uq_keys_short_id"),
        sa.UniqueConstraint("node_id", "port", name="uq_keys_node_id"),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_keys_port_range")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_keys_node_id_nodes"),
    )


def _create_intents(table: str) -> sa.Table:
    return op.create_table(
        table,
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("short_id", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("owner", sa.String(44), nullable=False, server_default=sa.text("''")),
        _node_id(),
        sa.PrimaryKeyConstraint("key_id", name="pk_intents"),
        sa.UniqueConstraint("uuid", name="uq_intents_uuid"),
        sa.UniqueConstraint("short_id", name="uq_intents_short_id"),
        sa.UniqueConstraint("node_id", "port", name="uq_intents_node_id"),
    )


def _create_usage(table: str) -> sa.Table:
    return op.create_table(
        table,
        sa.Column("key_uuid", sa.String(36), nullable=False),
        _node_id(),
        sa.Column("epoch", sa.String(48), nullable=False),
        sa.Column("up_bytes", sa.BigInteger, nullable=False),
        sa.Column("down_bytes", sa.BigInteger, nullable=False),
        sa.Column("up_added", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("down_added", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("key_uuid", "node_id", "epoch", name="pk_traffic_usage"),
        sa.ForeignKeyConstraint(["key_uuid"], ["keys.uuid"], ondelete="CASCADE", name="fk_traffic_usage_key_uuid_keys"),
    )


def _create_epochs(table: str) -> sa.Table:
    return op.create_table(
        table,
        _node_id(),
        sa.Column("epoch", sa.String(48), nullable=False),
        sa.Column("first_sample_at", sa.DateTime, nullable=False),
        sa.Column("last_sample_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("ended_cleanly", sa.Boolean),
        sa.PrimaryKeyConstraint("node_id", "epoch", name="pk_epochs"),
    )
