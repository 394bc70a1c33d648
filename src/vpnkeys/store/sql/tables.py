"""Defines the tables. Migrations bring a database to this shape; a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from vpnkeys.store.sql.nodes.tables import doors, metadata, nodes, placements
from vpnkeys.store.sql.triggers import add_triggers, changed_keys, generations

__all__ = [
    "HOURS",
    "KEPT",
    "audit",
    "changed_keys",
    "deliveries",
    "doors",
    "epochs",
    "generations",
    "idempotency",
    "intents",
    "keys",
    "limit_notices",
    "metadata",
    "nodes",
    "stops",
    "subscriptions",
    "tokens",
    "traffic_accounts",
    "traffic_days",
    "traffic_history",
    "traffic_usage",
    "webhooks",
]


def _node_id(*more: ForeignKey, is_key: bool = False) -> Column[int]:
    """Return the column that says which node a row is of: the built-in one where a statement names none."""
    return Column("node_id", Integer, *more, primary_key=is_key, nullable=False, server_default="1")


_NEXT_NUMBER = text("(SELECT coalesce(max(number), 0) + 1 FROM keys)")

keys = Table(
    "keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("created_at", DateTime, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("port", Integer, CheckConstraint("port BETWEEN 1 AND 65535", name="port_range"), nullable=False),
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
    # The key expires so long after its first byte, by which `expires_at` is set.
    Column("expires_after_s", BigInteger),
    # What rows of history say for the key: 4 bytes in place of 36. Only one transaction at a time makes keys, and the
    # rows of a deleted key go with it, so that the next number is free. SQLite can add no column that is NOT NULL.
    Column("number", Integer, unique=True, index=True, default=_NEXT_NUMBER),
    _node_id(ForeignKey(nodes.c.id)),
    UniqueConstraint("node_id", "port"),
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

# How near a key was to its traffic limit when webhooks were last notified: of the window that began then, in percent.
limit_notices = Table(
    "limit_notices",
    metadata,
    Column("key_id", String(36), ForeignKey(keys.c.id, ondelete="CASCADE"), primary_key=True),
    Column("window_start", DateTime),
    Column("percent", Integer, nullable=False),
)

# The highest counters seen in one life of a node's Xray. The maximum is the same however often and in whatever order
# samples come in, which makes counting exact. `up_added` and `down_added` are by how much the last raise was one.
traffic_usage = Table(
    "traffic_usage",
    metadata,
    _key_uuid(),
    _node_id(is_key=True),
    Column("epoch", String(48), primary_key=True),
    Column("up_bytes", BigInteger, nullable=False),
    Column("down_bytes", BigInteger, nullable=False),
    Column("up_added", BigInteger, nullable=False, server_default="0"),
    Column("down_added", BigInteger, nullable=False, server_default="0"),
)


def _day_of_a_key() -> tuple[Column[object], ...]:
    """Return the columns of what a key used on a day, UTC. Days come first, as a sample writes to one of them only."""
    return (
        Column("day", Date, primary_key=True),
        Column(
            "key_number",
            Integer,
            ForeignKey(keys.c.number, ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
            index=True,
        ),
        Column("up_bytes", BigInteger, nullable=False),
        Column("down_bytes", BigInteger, nullable=False),
    )


HOURS = range(24)

# The increments of `traffic_usage` by the hour of their sampling: a row for a key and day, with the day's sum and its
# 24 hours. An hour without traffic is NULL, which takes a bit. On PostgreSQL each day is a partition of its own, so
# that an old one is dropped as a whole (docs/adr/0020-history-by-day.md).
traffic_history = Table(
    "traffic_history",
    metadata,
    *_day_of_a_key(),
    *(Column(f"{way}_{hour:02}", BigInteger) for hour in HOURS for way in ("up", "down")),
    sqlite_with_rowid=False,  # the migration alone says PARTITION BY: here it would load that dialect at each start
)

# What is older than that, by day.
traffic_days = Table("traffic_days", metadata, *_day_of_a_key(), sqlite_with_rowid=False)

# Epochs: lives of a node's Xray process. One that its server did not end, after a last sample, may have carried bytes
# that nobody counted: that is a gap, from its last sample to `ended_at`. The bytes are all that its samples have added,
# also of keys that are gone.
epochs = Table(
    "epochs",
    metadata,
    _node_id(is_key=True),
    Column("epoch", String(48), primary_key=True),
    Column("first_sample_at", DateTime, nullable=False),
    Column("last_sample_at", DateTime, nullable=False),
    Column("ended_at", DateTime),
    Column("ended_cleanly", Boolean),
    Column("up_bytes", BigInteger, nullable=False, server_default="0"),
    Column("down_bytes", BigInteger, nullable=False, server_default="0"),
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
    Column("port", Integer, nullable=False),
    Column("short_id", String(16), nullable=False, unique=True),
    Column("at", DateTime, nullable=False),
    # Which server starts the key, where several share a database.
    Column("owner", String(44), nullable=False, server_default=text("''")),
    _node_id(),
    UniqueConstraint("node_id", "port"),
)

# Keys that must not work on a node any more, whether their rows still exist or not, and the key may live elsewhere by
# now. A row stays until the node has confirmed the stop and the client that asked for it has been answered so.
stops = Table(
    "stops",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("port", Integer, nullable=False),
    Column("at", DateTime, nullable=False),
    Column("is_confirmed", Boolean, nullable=False),
    _node_id(is_key=True),
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

# Customers' subscriptions, a row for each key of one: a deleted key leaves them, and its last key takes one along. A
# key's own subscription has the key's id. The token, of which only a hash is stored, opens the keys' links and usage.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("key_id", String(36), ForeignKey(keys.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("token_hash", String(64), nullable=False),
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

KEPT = (keys, tokens, subscriptions, webhooks, intents, stops, nodes, doors, placements)
add_triggers(metadata, [table.name for table in KEPT])
