"""Translates what databases and their drivers raise into our own errors, for all of `store`.

The texts are ours: SQLite's own may quote bytes of a damaged page.
"""

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vpnkeys.domain.errors import DatabaseDamaged, StoreUnavailable

_LOGIC, _CORRUPT, _NOT_A_DATABASE = (
    1,
    11,
    26,
)  # SQLITE_ERROR, SQLITE_CORRUPT and SQLITE_NOTADB, https://www.sqlite.org/rescode.html
_DAMAGE = ("Could not decode", "no such table", "no such column", "malformed", "file is not a database")
_CAUSES = {
    5: "database is locked",
    6: "database is locked",
    8: "attempt to write a readonly database",
    10: "disk I/O error",
    13: "database or disk is full",
    14: "unable to open database file",
}
_BUGS = (IntegrityError, ProgrammingError, sqlite3.IntegrityError, sqlite3.ProgrammingError)


def translated(error: BaseException | None) -> StoreUnavailable | None:
    """Return our own error in place of the driver's; None when it is not about the database, or is a bug."""
    if not isinstance(error, DBAPIError | PoolTimeout | sqlite3.Error) or isinstance(error, _BUGS):
        return None
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error) and _is_damage(cause):
        return damaged()
    told = cause_of(cause) if isinstance(cause, sqlite3.Error) else str(cause)
    return StoreUnavailable(f"The database does not answer: {told}. Nothing was changed; try again shortly.")


def cause_of(error: sqlite3.Error) -> str:
    """Return in a few words why SQLite did not do what it was asked."""
    code = _code(error)
    # A statement that does not fit the schema quotes itself only.
    return _CAUSES.get(code) or (str(error) if code == _LOGIC else type(error).__name__)


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in {_CORRUPT, _NOT_A_DATABASE} or str(error).startswith(_DAMAGE)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bytes only refine it


def damaged() -> DatabaseDamaged:
    """Return the error for a database whose content cannot be read."""
    return DatabaseDamaged(
        "The database is damaged, and nothing was changed. Stop the server and restore the newest backup: "
        "vpnkeys restore --newest --force"
    )
