"""The tables. Migrations bring a database to this shape; a test holds them together."""

from sqlalchemy import Boolean, CheckConstraint, Column, DateTime, Integer, MetaData, String, Table

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
)
