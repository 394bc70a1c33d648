"""Reads a server's database by its own driver, without the product's code."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg


def rows_of(database: Path | str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query with question marks, from the file of an SQLite database or a PostgreSQL's URL."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query, parameters).fetchall()
    with psycopg.connect(database, autocommit=True) as connected:
        return connected.execute(query.replace("?", "%s").encode(), parameters or None).fetchall()
