"""The database: SQLAlchemy Core on SQLite or PostgreSQL, its migrations, and the files beside it."""
