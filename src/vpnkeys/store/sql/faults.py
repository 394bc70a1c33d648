"""Translates what databases and their drivers raise into our own errors, for all of `store`.

The texts are ours: SQLite's own may quote bytes of a damaged page.
"""

import sqlite3
from enum import IntEnum

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vpnkeys.domain.errors import DatabaseDamaged, StoreUnavailable


class Cause(IntEnum):
    """SQLite's result codes that matter here, https://www.sqlite.org/rescode.html."""

    LOGIC = 1
    BUSY = 5
    LOCKED = 6
    READ_ONLY = 8
    IO = 10
    CORRUPT = 11
    FULL = 13
    CANNOT_OPEN = 14
    NOT_A_DATABASE = 26


_DAMAGE = ("Could not decode", "no such table", "no such column", "malformed", "file is not a database")
_TOLD = {
    Cause.BUSY: "database is locked",
    Cause.LOCKED: "database is locked",
    Cause.READ_ONLY: "attempt to write a readonly database",
    Cause.IO: "disk I/O error",
    Cause.FULL: "database or disk is full",
    Cause.CANNOT_OPEN: "unable to open database file",
}
_BUGS = (IntegrityError, ProgrammingError, sqlite3.IntegrityError, sqlite3.ProgrammingError)


def cause_of(error: BaseException | None) -> Cause | None:
    """Return SQLite's reason for an error of its driver, or of SQLAlchemy; None when it has none, or another one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the upper bytes only refine it
    return Cause(code) if code in {*Cause} else None


def translated(error: BaseException | None) -> StoreUnavailable | None:
    """Return our own error in place of the driver's; None when it is not about the database, or is a bug."""
    if not isinstance(error, DBAPIError | PoolTimeout | sqlite3.Error) or isinstance(error, _BUGS):
        return None
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        if cause_of(cause) in {Cause.CORRUPT, Cause.NOT_A_DATABASE} or str(cause).startswith(_DAMAGE):
            return damaged()
        told = words_of(cause)
    else:
        told = str(cause)
    return StoreUnavailable(f"The database does not answer: {told}. Nothing was changed; try again shortly.")


def words_of(error: sqlite3.Error) -> str:
    """Return in a few words why SQLite did not do what it was asked."""
    code = cause_of(error)
    # A statement that does not fit the schema quotes itself only.
    unnamed = str(error) if code is Cause.LOGIC else type(error).__name__
    return unnamed if code is None else _TOLD.get(code, unnamed)


def damaged() -> DatabaseDamaged:
    """Return the error for a database whose content cannot be read."""
    return DatabaseDamaged(
        "The database is damaged, and nothing was changed. Stop the server and restore the newest backup: "
        "vpnkeys restore --newest --force"
    )
