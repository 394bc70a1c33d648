"""Defines the tables. Migrations bring a database to this shape; a test compares the two."""

from sqlalchemy import (
    DDL,
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
    event,
    text,
)

# Constraints need names that are known, because a migration can alter or drop a constraint only by its name.
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
    Column("fingerprint", String(16)),
    # The VLESS id of a key that has got another one. `uuid` is the first, to which traffic belongs.
    Column("new_uuid", String(36), unique=True, index=True),
)


def _key_uuid() -> Column[str]:
    return Column("key_uuid", String(36), ForeignKey(keys.c.uuid, ondelete="CASCADE"), primary_key=True)


# What belongs to a key's total besides what Xray counted here: `base_bytes` were imported, `offset_bytes` are what the
# last reset took off.
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

# Epochs: lives of an Xray process. One that this server did not end, after a last sample, may have carried bytes that
# nobody counted: that is a gap, from its last sample to `ended_at`.
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

# Keys that are being started: what they reserve. No reader sees them as keys. Rows that a crash left are taken back.
intents = Table(
    "intents",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("port", Integer, nullable=False, unique=True),
    Column("short_id", String(16), nullable=False, unique=True),
    Column("at", DateTime, nullable=False),
)

# Keys that must not work any more, whether their rows still exist or not. A row stays until the node has confirmed the
# stop and the client that asked for it has been answered so.
stops = Table(
    "stops",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("port", Integer, nullable=False),
    Column("at", DateTime, nullable=False),
    Column("is_confirmed", Boolean, nullable=False),
)

# API tokens. The token itself is not stored: `digest` recognises it, `prefix` is the part that lists show.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("prefix", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scope", String(8), nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("expires_at", DateTime),
    Column("revoked_at", DateTime),
    Column("last_used_at", DateTime),
)

# Every change: written in the transaction of the change itself, and never altered.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime, nullable=False, index=True),
    Column("actor", String(160), nullable=False),
    Column("origin", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("before", Text),
    Column("after", Text),
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    sqlite_autoincrement=True,
)

AUDIT_IS_APPEND_ONLY = tuple(
    f"CREATE TRIGGER audit_no_{verb} BEFORE {verb.upper()} ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
    for verb in ("update", "delete")
)
for _trigger in AUDIT_IS_APPEND_ONLY:
    event.listen(audit, "after_create", DDL(_trigger).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]

# A customer's subscription. The token, of which only a hash is stored, opens the key's link and usage.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("key_id", String(36), ForeignKey(keys.c.id, ondelete="CASCADE"), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", DateTime, nullable=False),
)

# Receivers of events. `secret` signs what is sent, so it has to be stored itself and not as a hash.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", String(64), nullable=False),
    Column("events", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("created_at", DateTime, nullable=False),
)

# Deliveries, waiting and done: written in the transaction of the event itself, so that none is lost.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("webhook_id", String(36), ForeignKey(webhooks.c.id, ondelete="CASCADE"), nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("event", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_try_at", DateTime, index=True),
    Column("delivered_at", DateTime),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    sqlite_autoincrement=True,  # ids give the order of delivery; SQLite may give those of deleted last rows again
)

# For each table that is kept in memory, a number that triggers raise with every change, of whatever process. Traffic is
# written all the time, so that keeping it would gain nothing. On PostgreSQL nothing is kept in memory.
generations = Table(
    "generations",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

KEPT = (keys, tokens, subscriptions, webhooks, intents, stops)
_GROWS = "UPDATE generations SET number = number + 1 WHERE name ="
_COUNTING = (
    *(f"INSERT INTO generations (name, number) VALUES ('{table.name}', 0)" for table in KEPT),  # noqa: S608 - our own
    *(
        f"CREATE TRIGGER {table.name}_{verb} AFTER {verb.upper()} ON {table.name} BEGIN {_GROWS} '{table.name}'; END"
        for table in KEPT
        for verb in ("insert", "update", "delete")
    ),
)
for _statement in _COUNTING:
    event.listen(metadata, "after_create", DDL(_statement).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
