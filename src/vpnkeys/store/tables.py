"""The tables. Migrations bring a database to this shape; a test holds them together."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("created_at", DateTime, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column(
        "port", Integer, CheckConstraint("port BETWEEN 1 AND 65535", name="port_range"), nullable=False, unique=True
    ),
    Column("short_id", String(16), nullable=False, unique=True),
    Column("sni", String(253), nullable=False),
    Column("flow", String(32), nullable=False),
    Column("port_assigned_at", DateTime),
    Column("note", Text, nullable=False, server_default=text("''")),
    Column("expires_at", DateTime),
    Column("traffic_limit_bytes", BigInteger),
    Column("traffic_limit_window", String(8), nullable=False, server_default="total"),
    Column("max_devices", Integer),
    Column("speed_limit_mbps", Integer),
    Column("judged", String(8), nullable=False, server_default="active"),
)


def _key_uuid() -> Column[str]:
    return Column("key_uuid", String(36), ForeignKey(keys.c.uuid, ondelete="CASCADE"), primary_key=True)


# What a key has used besides what Xray counted for it here: `base_bytes` were imported, `offset_bytes` were reset away.
traffic_accounts = Table(
    "traffic_accounts",
    metadata,
    _key_uuid(),
    Column("base_bytes", BigInteger, nullable=False),
    Column("offset_bytes", BigInteger, nullable=False),
    # The hour of the last reset, and what had been counted in it by then: what a window has used begins after that.
    Column("reset_hour", DateTime),
    Column("reset_hour_bytes", BigInteger, nullable=False, server_default="0"),
    Column("last_seen_at", DateTime),
)

# The highest counters seen in one life of Xray. The maximum is the same however often and in whatever order samples
# come in, which is what makes counting exact.
traffic_usage = Table(
    "traffic_usage",
    metadata,
    _key_uuid(),
    Column("epoch", String(48), primary_key=True),
    Column("up_bytes", BigInteger, nullable=False),
    Column("down_bytes", BigInteger, nullable=False),
)

# The increments of `traffic_usage` by hour of their sampling, UTC.
traffic_hours = Table(
    "traffic_hours",
    metadata,
    _key_uuid(),
    Column("hour", DateTime, primary_key=True),
    Column("up_bytes", BigInteger, nullable=False),
    Column("down_bytes", BigInteger, nullable=False),
)

# Lives of Xray. One that was not ended by us, after a last sample, may have taken uncounted bytes with it: a gap from
# its last sample to `ended_at`.
epochs = Table(
    "epochs",
    metadata,
    Column("epoch", String(48), primary_key=True),
    Column("first_sample_at", DateTime, nullable=False),
    Column("last_sample_at", DateTime, nullable=False),
    Column("ended_at", DateTime),
    Column("ended_cleanly", Boolean),
)

# The answers to requests that carried an Idempotency-Key; the key is kept as a hash.
idempotency = Table(
    "idempotency",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", DateTime, nullable=False, index=True),
)
