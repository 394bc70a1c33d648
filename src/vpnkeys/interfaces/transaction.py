"""Declares the protocol of a change of the database."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import NewEvent
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.interfaces.leases import Leases
from vpnkeys.interfaces.ledger import Ledger
from vpnkeys.interfaces.nodes import NodeBook
from vpnkeys.interfaces.outbox import Outbox


class Transaction(Protocol):
    """Changes the database, with no other writer meanwhile. Leaving it commits; an exception rolls it back.

    The same commit adds each change of keys to the audit log, with the present actor (`domain.actor`), and the
    deliveries to webhooks of that change (`domain.event`) and of every gap that the ledger finds.
    """

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, with the changes of this transaction, oldest first."""
        ...

    def intents(self) -> tuple[Intent, ...]:
        """Return the intents of keys that are being started, with the changes of this transaction."""
        ...

    # Another server that shares the database may be starting keys: taking them back would stop what it has just made.
    def own_intents(self) -> tuple[Intent, ...]:
        """Return those of `intents` that are this server's, or so old that their server must have ended."""
        ...

    def insert(self, *keys: Key) -> None:
        """Add keys. Their ids, UUIDs and short ids must be new, and their ports on their nodes."""
        ...

    def update(self, *keys: Key) -> None:
        """Change keys; their ids and accounts stay. Ports change all at once, so that keys may swap theirs."""
        ...

    def delete(self, *key_ids: str) -> None:
        """Remove keys and all that belongs to them. A missing one is no error."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Return the accounts of traffic."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Return the webhooks and their deliveries."""
        ...

    @property
    def leases(self) -> Leases:
        """Return who of several servers does what."""
        ...

    @property
    def nodes(self) -> NodeBook:
        """Return what is stored of nodes."""
        ...

    def add_event(self, event: NewEvent) -> None:
        """Notify webhooks of an event that does not follow from a change of keys."""
        ...

    def record(self, entry: Entry) -> None:
        """Add a record to the audit log that does not follow from a change of keys."""
        ...

    # After the rollback of the change itself, in a transaction of its own: the attempt is part of the log.
    def record_taken_back(self, entries: Iterable[Entry], why: str) -> None:
        """Add records of changes that were begun and taken back, with the reason."""
        ...

    def put_intents(self, intents: Iterable[Intent]) -> None:
        """Reserve ports of a node, UUIDs and short ids; no other key may have them, and no other intent."""
        ...

    def drop_intents(self) -> None:
        """Remove the intents of `own_intents`."""
        ...

    def stops(self) -> tuple[Stop, ...]:
        """Return the stops that are not finished."""
        ...

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """Add stops, or replace those of the same keys and nodes; of several such, store the last."""
        ...

    def drop_stops(self, key_ids: Iterable[str], node_id: int = LOCAL.id) -> None:
        """Remove the stops that a node has of these keys. A missing one is no error."""
        ...

    def notices(self, key_ids: Collection[str]) -> Mapping[str, Notice]:
        """Return what is stored of these keys by `put_notices`, by id."""
        ...

    def put_notices(self, notices: Mapping[str, Notice]) -> None:
        """Store how near keys are to their traffic limits, by id, as webhooks have been notified."""
        ...

    def put_token(self, token: Token) -> None:
        """Add a token, or change the one with its id."""
        ...

    def put_subscription(self, subscription: Subscription) -> None:
        """Add a subscription, or replace the one with its id."""
        ...

    def delete_subscription(self, subscription_id: str) -> None:
        """Delete a subscription. A missing one is no error."""
        ...

    def remember(self, answer: KeptAnswer) -> None:
        """Store an answer to repeat, in place of an older one with the same hash."""
        ...

    def forget(self, before: datetime) -> None:
        """Delete answers that were stored before then."""
        ...
