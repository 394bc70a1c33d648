"""Translates what databases and their drivers raise into our own errors, for all of `store`.

The texts are ours: SQLite's own may quote bytes of a damaged page, and PostgreSQL's a row.
"""

import sqlite3
from enum import Enum

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vpnkeys.domain.errors import (
    CommitUnknown,
    DatabaseDamaged,
    DatabaseMoved,
    KeysChangedMeanwhile,
    StoreUnavailable,
)

MOVED = "moved to "
"""How the mark of a database begins that was moved: as its version, and as a name among its numbers of changes."""


class Cause(Enum):
    """Why a database did not do what it was asked, in a few words."""

    BUSY = "database is locked"
    READ_ONLY = "attempt to write a readonly database"
    IO = "disk I/O error"
    FULL = "database or disk is full"
    CANNOT_OPEN = "unable to open database file"
    DAMAGED = "the content of the database cannot be read"
    TAKEN = "another process wrote the same row"
    STANDBY = "it is read-only, as a standby is; VPNKEYS_DATABASE_URL has to lead to the primary"
    SLOW = "it took too long"
    FORBIDDEN = (
        "its user may not do this; use the role that owns the tables, or give this one the rights of "
        "docs/en/postgresql.md, Roles"
    )
    NO_TABLES = "its tables are missing or of another version; start the server once (vpnkeys serve) to make them"
    NO_SCHEMA = "none of the schemas in its user's search_path exists; make one (CREATE SCHEMA), or change the path"
    FOREIGN = "it has tables of another program with names of ours; give an empty database, or a schema of its own"
    CROWDED = "it has too many connections"


# https://www.sqlite.org/rescode.html; the upper bytes only refine a code, but for those of constraints.
_OF_SQLITE = {
    5: Cause.BUSY,
    6: Cause.BUSY,
    8: Cause.READ_ONLY,
    10: Cause.IO,
    11: Cause.DAMAGED,
    13: Cause.FULL,
    14: Cause.CANNOT_OPEN,
    26: Cause.DAMAGED,
    787: Cause.TAKEN,
    1555: Cause.TAKEN,
    2067: Cause.TAKEN,
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_POSTGRESQL = {
    "23503": Cause.TAKEN,
    "23505": Cause.TAKEN,
    "25006": Cause.STANDBY,
    "3D000": Cause.NO_TABLES,
    "3F000": Cause.NO_SCHEMA,
    "40001": Cause.BUSY,
    "40P01": Cause.BUSY,
    "42501": Cause.FORBIDDEN,
    "42703": Cause.NO_TABLES,
    "42710": Cause.FOREIGN,
    "42723": Cause.FOREIGN,
    "42P01": Cause.NO_TABLES,
    "42P07": Cause.FOREIGN,
    "53100": Cause.FULL,
    "53300": Cause.CROWDED,
    "55P03": Cause.BUSY,
    "57014": Cause.SLOW,
    "58030": Cause.IO,
    "XX001": Cause.DAMAGED,
    "XX002": Cause.DAMAGED,
}

_LASTING = frozenset({Cause.FORBIDDEN, Cause.NO_TABLES, Cause.NO_SCHEMA, Cause.FOREIGN})
"""What stays as it is until an operator changes it."""

_DAMAGE = ("Could not decode", "malformed", "file is not a database")
_MISSING = ("no such table", "no such column")
_BUGS = (IntegrityError, ProgrammingError, sqlite3.IntegrityError, sqlite3.ProgrammingError)
_LOGIC = 1
_SHORT = 200


def cause_of(error: BaseException | None) -> Cause | None:
    """Return the reason that a driver gives, also through SQLAlchemy; None when it gives none, or another one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0)
    if code == _LOGIC and str(cause).startswith(_MISSING):
        return Cause.NO_TABLES
    found = _OF_SQLITE.get(code) or _OF_SQLITE.get(code & 0xFF)
    return found or _OF_POSTGRESQL.get(getattr(cause, "sqlstate", None) or "")


def translated(error: BaseException | None) -> StoreUnavailable | KeysChangedMeanwhile | None:
    """Return our own error in place of the driver's; None when it is not about the database, or is a bug."""
    if not isinstance(error, DBAPIError | PoolTimeout | sqlite3.Error):
        return None
    cause = error.orig if isinstance(error, DBAPIError) else error
    known = cause_of(error)
    if known is Cause.TAKEN:
        return KeysChangedMeanwhile(
            "Another process changed the keys at the same moment. Nothing was changed; try again."
        )
    if known is None and isinstance(error, _BUGS):
        return None
    if isinstance(cause, sqlite3.Error):
        if known is Cause.DAMAGED or str(cause).startswith(_DAMAGE):
            return damaged()
        told = words_of(cause)
    else:
        told = known.value if known is not None else _in_one_line(cause)
    if known in _LASTING or getattr(cause, "is_lasting", False):
        return unusable(told)
    return StoreUnavailable(f"The database does not answer: {told}. Nothing was changed; try again shortly.")


def unusable(why: str) -> StoreUnavailable:
    """Return the error for a database that answers, and with which no server can work."""
    return StoreUnavailable(f"The database cannot be used: {why}. Nothing was changed.")


def words_of(error: sqlite3.Error) -> str:
    """Return in a few words why SQLite did not do what it was asked."""
    known = cause_of(error)
    if known is not None and known is not Cause.DAMAGED:
        return str(known.value)
    # A statement that does not fit the schema quotes itself only.
    return str(error) if getattr(error, "sqlite_errorcode", 0) & 0xFF == _LOGIC else type(error).__name__


def _in_one_line(error: BaseException | None) -> str:
    """Return what a driver says of a connection, which has neither a password nor a row in it."""
    return " ".join(str(error).split())[:_SHORT].rstrip(".")


def commit_unknown() -> CommitUnknown:
    """Return the error for a connection that was lost while a transaction was being committed."""
    return CommitUnknown(
        "The connection to the database was lost while a change was being stored, so that it may be stored or not. "
        "Try again shortly."
    )


def moved(mark: str) -> DatabaseMoved:
    """Return the error for a database with this mark."""
    return DatabaseMoved(
        f"This database was {mark} by `vpnkeys database move` and takes no more changes. Set VPNKEYS_DATABASE_URL "
        "to the database to which it was moved, and start the server again."
    )


def damaged() -> DatabaseDamaged:
    """Return the error for a database whose content cannot be read."""
    return DatabaseDamaged(
        "The database is damaged, and nothing was changed. Stop the server and restore the newest backup: "
        "vpnkeys restore --newest --force"
    )
