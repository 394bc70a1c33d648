"""Keeps the database by SQLAlchemy Core, on SQLite or PostgreSQL, and migrates it."""
