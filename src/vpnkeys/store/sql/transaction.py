"""A write transaction of an SQL database."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from vpnkeys.domain.audit import Entry, key_changed, key_created, key_deleted, key_moved
from vpnkeys.domain.event import News, news_of_gap
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Gap
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.outbox import SqlOutbox
from vpnkeys.store.sql.rows import to_row, token_row
from vpnkeys.store.sql.tables import idempotency, subscriptions
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import tokens as tokens_table

_MAX_PORT = 65535
_INSERT_KEY = insert(keys_table)


@dataclass(slots=True)
class SqlTransaction:
    """A write transaction on one connection. It knows the keys, and follows its own changes of them.

    `entries` is what the audit log will say of it, `news` what webhooks will be told besides of its keys.
    """

    _connection: Connection
    _keys: tuple[Key, ...]
    outbox: SqlOutbox
    entries: list[Entry] = field(default_factory=list)
    news: list[News] = field(default_factory=list)

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self._keys

    def insert(self, key: Key) -> None:
        """Add a key."""
        self._connection.execute(_INSERT_KEY, to_row(key))
        self._set_keys(*self._keys, key)
        self.entries.append(key_created(key))

    def update(self, key: Key) -> None:
        """Change a key."""
        self._connection.execute(update(keys_table).where(keys_table.c.id == key.id).values(to_row(key)))
        self.entries += (key_changed(other, key) for other in self._keys if other.id == key.id and other != key)
        self._set_keys(*(key if other.id == key.id else other for other in self._keys))

    def delete(self, key_id: str) -> None:
        """Remove a key."""
        self._connection.execute(delete(keys_table).where(keys_table.c.id == key_id))
        self.entries += (key_deleted(key) for key in self._keys if key.id == key_id)
        self._set_keys(*(key for key in self._keys if key.id != key_id))

    def _set_keys(self, *keys: Key) -> None:
        self._keys = tuple(sorted(keys, key=lambda key: (key.created_at, key.id)))

    def move(self, ports: Mapping[str, int], at: datetime) -> None:
        """Give keys other ports, all at once."""
        # Ports are unique at every step, so that keys which swap theirs step aside first.
        taken = {key.port for key in self._keys} | set(ports.values())
        aside = (port for port in range(_MAX_PORT, 0, -1) if port not in taken)
        for key_id in ports:
            self._connection.execute(update(keys_table).where(keys_table.c.id == key_id).values(port=next(aside)))
        for key_id, port in ports.items():
            values = {"port": port, "port_assigned_at": at}
            self._connection.execute(update(keys_table).where(keys_table.c.id == key_id).values(values))
        self.entries += (key_moved(key, ports[key.id]) for key in self._keys if key.id in ports)
        self._set_keys(
            *(replace(key, port=ports[key.id], port_assigned_at=at) if key.id in ports else key for key in self._keys)
        )

    @property
    def ledger(self) -> SqlLedger:
        """The accounts of traffic."""
        return SqlLedger(self._connection, self._tell_of_gap)

    def tell(self, news: News) -> None:
        """Let webhooks be told this too."""
        self.news.append(news)

    def _tell_of_gap(self, gap: Gap) -> None:
        if any(key.created_at < gap.until for key in self._keys):  # or nobody misses a byte
            self.tell(news_of_gap(gap))

    def record(self, entry: Entry) -> None:
        """Let the audit log say this too."""
        self.entries.append(entry)

    def put_token(self, token: Token) -> None:
        """Add or change a token."""
        self._connection.execute(delete(tokens_table).where(tokens_table.c.id == token.id))
        self._connection.execute(insert(tokens_table).values(token_row(token)))

    def put_subscription(self, subscription: Subscription) -> None:
        """Give a key a subscription, in place of the one it has."""
        self.delete_subscription(subscription.key_id)
        self._connection.execute(insert(subscriptions).values(asdict(subscription)))

    def delete_subscription(self, key_id: str) -> None:
        """Take a key's subscription away."""
        self._connection.execute(delete(subscriptions).where(subscriptions.c.key_id == key_id))

    def remembered(self, key_hash: str, since: datetime) -> tuple[str, str] | None:
        """The body's hash and the answer that were remembered since then."""
        wanted = (idempotency.c.key_hash == key_hash) & (idempotency.c.created_at >= since)
        row = self._connection.execute(select(idempotency.c.body_hash, idempotency.c.answer).where(wanted)).first()
        return (row[0], row[1]) if row else None

    def remember(self, key_hash: str, body_hash: str, answer: str, at: datetime) -> None:
        """Remember an answer."""
        self._connection.execute(delete(idempotency).where(idempotency.c.key_hash == key_hash))
        values = {"key_hash": key_hash, "body_hash": body_hash, "answer": answer, "created_at": at}
        self._connection.execute(insert(idempotency).values(values))

    def forget(self, before: datetime) -> None:
        """Forget older answers."""
        self._connection.execute(delete(idempotency).where(idempotency.c.created_at < before))
