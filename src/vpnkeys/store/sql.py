"""Keys, tokens, traffic and the audit log in an SQL database."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vpnkeys.domain.actor import SERVER, current_actor
from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.errors import StoreUnavailable, VpnKeysError
from vpnkeys.domain.key import Key
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Point, Traffic
from vpnkeys.store.audit import read_records, write_records
from vpnkeys.store.engine import data_version
from vpnkeys.store.ledger import SqlLedger
from vpnkeys.store.rows import to_key, to_token
from vpnkeys.store.tables import keys as keys_table
from vpnkeys.store.tables import tokens as tokens_table
from vpnkeys.store.transaction import SqlTransaction

_log = logging.getLogger(__name__)

_ALL_KEYS = select(keys_table).order_by(keys_table.c.created_at, keys_table.c.id)
_ALL_TOKENS = select(tokens_table).order_by(tokens_table.c.created_at, tokens_table.c.id)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of the database as of one version of it."""

    version: int | None = None
    keys: tuple[Key, ...] = ()
    tokens: tuple[Token, ...] = ()


class SqlStore:
    """Keeps the promises of `interfaces.Store`.

    On SQLite keys and tokens are read once and kept until somebody commits: `PRAGMA data_version` of a connection that
    never writes tells, in microseconds, whether any other connection did, of this process or another.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.connect() if engine.dialect.name == "sqlite" else None
        self._lock = threading.Lock()
        self._kept = _Kept()

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self._now().keys

    def tokens(self) -> tuple[Token, ...]:
        """All tokens, oldest first."""
        return self._now().tokens

    def _now(self) -> _Kept:
        with _translated():
            if self._reader is None:
                with self._engine.begin() as connection:
                    return _read(connection, None)
            with self._lock:
                return self._kept_or_read(self._reader)

    def _kept_or_read(self, reader: Connection) -> _Kept:
        # The version first: a commit in between is then seen the next time.
        version = data_version(reader)
        if version != self._kept.version:
            with reader.begin():
                self._kept = _read(reader, version)
        return self._kept

    def traffic(self, uuid: str) -> Traffic:
        """What a key has used."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).traffic(uuid)

    def history(self, uuid: str, since: datetime, until: datetime) -> tuple[Point, ...]:
        """What was counted by hour."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).history(uuid, since, until)

    def audit(self, limit: int, before_id: int | None = None, subject: str | None = None) -> tuple[Record, ...]:
        """The newest records, newest first."""
        with _translated(), self._engine.begin() as connection:
            return read_records(connection, limit, before_id, subject)

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """Add to the audit log."""
        self._record([entry], outcome, detail)

    def _record(self, entries: list[Entry], outcome: Outcome, detail: str) -> None:
        with _translated(), self._writing() as connection:
            write_records(connection, entries, _utc_now(), outcome, detail)

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """A write transaction that commits at its end."""
        entries: list[Entry] = []
        try:
            with _translated(), self._writing() as connection:
                # Nobody else writes from here on, so that what was kept, if it is still right, stays right.
                keys = _keys(connection) if self._reader is None else self.keys()
                yield SqlTransaction(connection, keys, entries)
                write_records(connection, entries, _utc_now(), Outcome.DONE)
        except VpnKeysError as error:
            self._note_failure(entries, error)
            raise

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def _note_failure(self, entries: list[Entry], error: VpnKeysError) -> None:
        """Let the log tell of what somebody tried in vain; what the server tries by itself, it tries again."""
        if not entries or current_actor() == SERVER or isinstance(error, StoreUnavailable):
            return
        try:
            self._record(entries, Outcome.TAKEN_BACK, str(error))
        except StoreUnavailable as silence:
            _log.warning("a change that was taken back is missing from the audit log: %s", silence)

    def close(self) -> None:
        """Close all connections."""
        if self._reader is not None:
            self._reader.close()
        self._engine.dispose()


def _read(connection: Connection, version: int | None) -> _Kept:
    tokens = connection.execute(_ALL_TOKENS)
    return _Kept(version, _keys(connection), tuple(to_token(row._mapping) for row in tokens))  # noqa: SLF001 - as below


def _keys(connection: Connection) -> tuple[Key, ...]:
    rows = connection.execute(_ALL_KEYS)
    return tuple(to_key(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name for it


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        msg = f"The database does not answer: {getattr(error, 'orig', error)}. Nothing was changed; try again shortly."
        raise StoreUnavailable(msg) from error
