"""Makes one row of a key's hours of a day, and gives keys short numbers for them."""

from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_HOURS = range(24)
_KEPT = timedelta(days=90)
_SUMS = ("up_bytes", "down_bytes")


def upgrade() -> None:
    """Number the keys, create both tables, fill them from the rows by hour, and drop those."""
    op.add_column("keys", sa.Column("number", sa.Integer))
    op.execute(
        "UPDATE keys SET number = counted.number FROM "
        "(SELECT id, row_number() OVER (ORDER BY created_at, id) AS number FROM keys) AS counted "
        "WHERE keys.id = counted.id"
    )
    op.create_index("ix_keys_number", "keys", ["number"], unique=True)
    hours = [sa.Column(f"{way}_{hour:02}", sa.BigInteger) for hour in _HOURS for way in ("up", "down")]
    _create("traffic_history", hours, partition_by="RANGE (day)")
    _create("traffic_days", [])
    if op.get_bind().dialect.name == "postgresql":
        _add_partitions()
    _move_rows()
    op.drop_table("traffic_hours")


def _create(table: str, more: list[sa.Column[int]], partition_by: str | None = None) -> None:
    op.create_table(
        table,
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("key_number", sa.Integer, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        *more,
        sa.PrimaryKeyConstraint("day", "key_number", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["key_number"], ["keys.number"], ondelete="CASCADE", name=f"fk_{table}_key_number_keys"
        ),
        sqlite_with_rowid=False,
        postgresql_partition_by=partition_by,
    )
    op.create_index(f"ix_{table}_key_number", table, ["key_number"])


def _add_partitions() -> None:
    """Create the functions that make the partition of a day, and turn the oldest into sums without hours.

    They run with the rights of their owner, so that the server's role can do without that of making tables. A
    partition is made as a table of its own and attached, because that holds up neither readers nor writers. One that
    is folded is detached first: what a late sample adds to its day from then on goes to a new one.
    """
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    head = f"LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp"
    lock = "PERFORM pg_advisory_xact_lock(hashtext('vpnkeys'), hashtext('traffic_history'))"
    op.execute(f"""
        CREATE FUNCTION make_history_day(wanted date) RETURNS void {head} AS $$
        DECLARE place text := 'traffic_history_' || to_char(wanted, 'YYYYMMDD');
        BEGIN
            IF to_regclass(place) IS NOT NULL THEN RETURN; END IF;
            {lock};
            IF to_regclass(place) IS NOT NULL THEN RETURN; END IF;
            EXECUTE format('CREATE TABLE %I (LIKE traffic_history INCLUDING ALL) WITH (fillfactor = 70)', place);
            EXECUTE format('ALTER TABLE traffic_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           place, wanted, wanted + 1);
        END $$
    """)
    copy = (
        "INSERT INTO traffic_days AS old (day, key_number, up_bytes, down_bytes) "
        "SELECT day, key_number, up_bytes, down_bytes FROM %I ON CONFLICT (day, key_number) DO UPDATE "
        "SET up_bytes = old.up_bytes + excluded.up_bytes, down_bytes = old.down_bytes + excluded.down_bytes"
    )
    # The names of partitions sort by day.
    op.execute(f"""
        CREATE FUNCTION fold_history_day(kept_from date) RETURNS boolean {head} AS $$
        DECLARE place text;
        BEGIN
            {lock};
            SELECT min(relname::text COLLATE "C") INTO place FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = 'traffic_history'::regclass;
            IF place IS NULL OR place >= 'traffic_history_' || to_char(kept_from, 'YYYYMMDD') COLLATE "C" THEN
                RETURN false;
            END IF;
            EXECUTE format('ALTER TABLE traffic_history DETACH PARTITION %I', place);
            EXECUTE format('{copy}', place);
            EXECUTE format('DROP TABLE %I', place);
            RETURN true;
        END $$
    """)  # noqa: S608 - our own names
    for function in ("make_history_day", "fold_history_day"):
        op.execute(f"REVOKE ALL ON FUNCTION {function}(date) FROM PUBLIC")


def _move_rows() -> None:
    """Fill both tables. Raises RuntimeError, and with it the migration, should a byte be missing."""
    bind = op.get_bind()
    hours = sa.table("traffic_hours", *map(sa.column, ("key_uuid", *_SUMS)), sa.column("hour", sa.DateTime))
    keys = sa.table("keys", sa.column("number"), sa.column("uuid"))
    source = sa.join(hours, keys, hours.c.key_uuid == keys.c.uuid)
    day, hour_of_day = sa.func.date(hours.c.hour, type_=sa.Date), sa.cast(sa.extract("hour", hours.c.hour), sa.Integer)
    newest = bind.scalar(sa.select(sa.func.max(hours.c.hour))) or datetime.now(UTC).replace(tzinfo=None)
    kept_from = newest.date() - _KEPT
    sums = [sa.func.sum(hours.c[name]) for name in _SUMS]
    by_hour = [sa.func.sum(sa.case((hour_of_day == hour, hours.c[name]))) for hour in _HOURS for name in _SUMS]
    names = [f"{way}_{hour:02}" for hour in _HOURS for way in ("up", "down")]
    if bind.dialect.name == "postgresql":
        for one in bind.scalars(sa.select(day).where(hours.c.hour >= _midnight(kept_from)).distinct()).all():
            bind.execute(sa.select(sa.func.make_history_day(one)))
    for table, columns, more, when in (
        ("traffic_history", names, by_hour, hours.c.hour >= _midnight(kept_from)),
        ("traffic_days", [], [], hours.c.hour < _midnight(kept_from)),
    ):
        filled = ["day", "key_number", *_SUMS, *columns]
        rows = sa.select(day, keys.c.number, *sums, *more).select_from(source).where(when)
        target = sa.table(table, *map(sa.column, filled))
        bind.execute(sa.insert(target).from_select(filled, rows.group_by(day, keys.c.number)))
    _check(bind)


def _check(bind: sa.Connection) -> None:
    """Compare the bytes of all rows by hour with those of the new rows, by their sums and by their hours."""
    hours = " + ".join(f"COALESCE({way}_{hour:02}, 0)" for hour in _HOURS for way in ("up", "down"))
    before, days, history, of_hours = (
        bind.scalar(sa.text(f"SELECT CAST(COALESCE(SUM({what}), 0) AS VARCHAR) FROM {table}"))  # noqa: S608 - our own
        for table, what in (
            ("traffic_hours", "up_bytes + down_bytes"),
            ("traffic_days", "up_bytes + down_bytes"),
            ("traffic_history", "up_bytes + down_bytes"),
            ("traffic_history", hours),
        )
    )
    if int(before) != int(days) + int(history) or history != of_hours:
        msg = f"the history has {before} bytes, and would have {days} by day and {history} by hour"
        raise RuntimeError(msg)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())
