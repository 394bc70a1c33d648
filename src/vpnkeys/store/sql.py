"""Keys, tokens, traffic and the audit log in an SQL database."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vpnkeys.domain.actor import SERVER, current_actor
from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.errors import StoreUnavailable, VpnKeysError
from vpnkeys.domain.event import news_of_keys
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Point, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.store.audit import read_records, write_records
from vpnkeys.store.engine import data_version
from vpnkeys.store.ledger import SqlLedger
from vpnkeys.store.outbox import SqlOutbox, read_newest, read_unsettled, read_webhooks
from vpnkeys.store.rows import to_key, to_token
from vpnkeys.store.tables import keys as keys_table
from vpnkeys.store.tables import subscriptions as subscriptions_table
from vpnkeys.store.tables import tokens as tokens_table
from vpnkeys.store.transaction import SqlTransaction

_log = logging.getLogger(__name__)

_ALL_KEYS = select(keys_table).order_by(keys_table.c.created_at, keys_table.c.id)
_ALL_TOKENS = select(tokens_table).order_by(tokens_table.c.created_at, tokens_table.c.id)
_ALL_SUBSCRIPTIONS = select(subscriptions_table)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of the database as of one version of it."""

    version: int | None = None
    keys: tuple[Key, ...] = ()
    tokens: tuple[Token, ...] = ()
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    webhooks: tuple[Webhook, ...] = ()


class SqlStore:
    """Keeps the promises of `interfaces.Store`.

    On SQLite what `_Kept` has is read once and kept until somebody commits: `PRAGMA data_version` of a connection that
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

    def subscriptions(self) -> Mapping[str, Subscription]:
        """All subscriptions, by the hash of their tokens."""
        return self._now().subscriptions

    def webhooks(self) -> tuple[Webhook, ...]:
        """All webhooks, oldest first."""
        return self._now().webhooks

    def unsettled(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """What a webhook has still to be told, oldest first."""
        with _translated(), self._engine.begin() as connection:
            return read_unsettled(connection, webhook_id, limit)

    def deliveries(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """All that is known of what a webhook is told, newest first."""
        with _translated(), self._engine.begin() as connection:
            return read_newest(connection, webhook_id, limit)

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

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """What a key has used since then."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).used_bytes(uuid, since)

    def totals(self) -> Mapping[str, Total]:
        """What each key has used."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).totals()

    def tally(self) -> Tally:
        """All that was ever counted."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).tally()

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
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
                kept = _read(connection, None) if self._reader is None else self._now()
                transaction = SqlTransaction(connection, kept.keys, SqlOutbox(connection, kept.webhooks), entries)
                yield transaction
                now = _utc_now()
                write_records(connection, entries, now, Outcome.DONE)
                transaction.outbox.tell(chain(transaction.news, news_of_keys(kept.keys, transaction.keys())), now)
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
    subscriptions = (Subscription(*row) for row in connection.execute(_ALL_SUBSCRIPTIONS))
    return _Kept(
        version,
        _keys(connection),
        tuple(to_token(row._mapping) for row in tokens),  # noqa: SLF001 - as below
        {subscription.token_hash: subscription for subscription in subscriptions},
        read_webhooks(connection),
    )


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
