"""Defines the tables of nodes, and what all tables are defined in."""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
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

# Servers with an Xray and ports of their own. Ids are given once: what was counted on a node keeps its id for good.
nodes = Table(
    "nodes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("group_name", String(64), nullable=False, server_default="default"),
    Column("weight", Integer, nullable=False, server_default="1"),
    Column("max_keys", Integer),
    Column("state", String(8), nullable=False, server_default="up"),
    # Of a node elsewhere; what the built-in one has, the server's settings say.
    Column("address", String(253), nullable=False, server_default=text("''")),
    Column("first_port", Integer),
    Column("last_port", Integer),
    Column("public_key", String(64), nullable=False, server_default=text("''")),
    Column("token_digest", String(64), nullable=False, server_default=text("''")),
    # The private half of its REALITY key pair, for a machine that takes its place.
    Column("private_key", String(64), nullable=False, server_default=text("''")),
    # When the token was made, and the next one, which takes its place as soon as the agent uses it.
    Column("token_since", DateTime),
    Column("next_digest", String(64), nullable=False, server_default=text("''")),
    sqlite_autoincrement=True,
)
event.listen(nodes, "after_create", DDL("INSERT INTO nodes (name) VALUES ('local')"))  # type: ignore[no-untyped-call]

# Inbounds of another panel that old links lead to. Their clients are JSON, as they are only read and written together.
doors = Table(
    "doors",
    metadata,
    Column("tag", String(64), primary_key=True),
    Column("port", Integer, nullable=False, unique=True),
    Column("listen", String(64), nullable=False),
    Column("target", String(300), nullable=False),
    Column("server_names", Text, nullable=False),
    Column("private_key", String(64), nullable=False),
    Column("short_ids", Text, nullable=False),
    Column("members", Text, nullable=False),
    Column("is_closing", Boolean, nullable=False),
)

# Tokens by which agents become nodes, each once. The token itself is not stored.
joins = Table(
    "joins",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), nullable=False),
    Column("expires_at", DateTime, nullable=False),
    Column("used_at", DateTime),
)

# How nodes were last seen. Not in `nodes`: that is kept in memory, and read again whenever it changes.
sightings = Table(
    "sightings",
    metadata,
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("at", DateTime, nullable=False),
    Column("version", String(64), nullable=False),
    Column("xray_version", String(64), nullable=False),
    Column("names", Text, nullable=False),
    # What its agent has confirmed: the mark of the keys that it was wanted to have, as of this revision, and as JSON
    # which of them did not start.
    Column("mark", String(64), nullable=False, server_default=text("''")),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Column("failed", Text, nullable=False, server_default=text("'{}'")),
    # Whether webhooks have been notified that it is silent.
    Column("is_silent", Boolean, nullable=False, server_default=text("false")),
    # From how many devices keys were online, as JSON by account; how busy its host was, and how wrong its clock.
    Column("online", Text, nullable=False, server_default=text("'{}'")),
    Column("cpu_share", Double),
    Column("clock_ahead_s", Double),
)

# Work that one of several servers does: who does it now, and how often it has said so. Another one takes the work over
# when that number has stood still.
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", String(44), nullable=False),
    Column("beat", BigInteger, nullable=False),
)

# Keys that nodes are wanted to have before they are stored so. Every control plane tells the agents of them; a row that
# its owner left behind is taken back.
placements = Table(
    "placements",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column("body", Text, nullable=False),
    Column("owner", String(44), nullable=False),
    Column("answer_hash", String(64), nullable=False, server_default=text("''")),
)
