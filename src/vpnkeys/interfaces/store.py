"""Declares the protocols of a database."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, Protocol

from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import NewEvent
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Bytes, Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook

PATIENCE_S: Final = 5.0
"""How long a writer waits for the others."""
BRIEFLY_S: Final = 0.3
"""The same for what is repeated anyway, and must not delay keys that have to stop."""


class Ledger(Protocol):
    """Keeps the accounts of traffic, inside a write transaction."""

    # The highest counter of each epoch and key counts, so that neither order nor repetition of samples matters.
    def merge(self, samples: Samples, at: datetime) -> None:
        """Merge a sample that was taken at this time. Idempotent; counters of unknown keys are left out."""
        ...

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """Store that we ended this epoch (life of Xray) after its last sample, so that it has no gap."""
        ...

    def reset(self, uuid: str, at: datetime) -> None:
        """Let the key's total be zero from now on; Xray's counters are not touched."""
        ...

    def used_bytes(self, since: Mapping[str, datetime | None]) -> Mapping[str, int]:
        """Return the bytes that keys have used, by UUID: see `Store.used_bytes`."""
        ...

    # A year of hours is 8,760 rows a key; a year of days is 365.
    def fold_into_days(self, before: datetime) -> None:
        """Add the hours before a midnight up to days."""
        ...

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Start a key with bytes that another server counted."""
        ...

    def start_from(self, samples: Samples) -> None:
        """Start keys at these counters, which deleted keys of the same UUIDs left in Xray: their bytes do not count."""
        ...


class Outbox(Protocol):
    """Stores webhooks and the deliveries to them, inside a write transaction."""

    def put_webhook(self, webhook: Webhook) -> None:
        """Add a webhook, or change the one with its id."""
        ...

    def delete_webhook(self, webhook_id: str) -> None:
        """Remove a webhook with all its deliveries. A missing one is no error."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """Store the result of a try. No error when the webhook was removed meanwhile."""
        ...

    def retry_at(self, webhook_id: str, at: datetime) -> None:
        """Let all deliveries that a webhook still waits for be tried at this time."""
        ...

    # A receiver that is off for weeks must not fill the disk, and deliveries show what went wrong lately.
    def prune(self, delivered_before: datetime, given_up_before: datetime) -> None:
        """Delete delivered and given-up deliveries whose event is older than the time for each."""
        ...


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

    def insert(self, key: Key) -> None:
        """Add a key. Its id, UUID, port and short id must be new."""
        ...

    def update(self, *keys: Key) -> None:
        """Change keys; their ids and accounts stay. Ports change all at once, so that keys may swap theirs."""
        ...

    def delete(self, key_id: str) -> None:
        """Remove a key and all that belongs to it. A missing one is no error."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Return the accounts of traffic."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Return the webhooks and their deliveries."""
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
        """Reserve ports, UUIDs and short ids; no other key may have them, and no other intent."""
        ...

    def drop_intents(self) -> None:
        """Remove all intents."""
        ...

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """Add stops, or replace those of the same keys; of several stops of one key, store the last."""
        ...

    def drop_stops(self, key_ids: Iterable[str]) -> None:
        """Remove the stops of these keys. A missing one is no error."""
        ...

    def put_token(self, token: Token) -> None:
        """Add a token, or change the one with its id."""
        ...

    def put_subscription(self, subscription: Subscription) -> None:
        """Give a key a subscription, in place of the one it has."""
        ...

    def delete_subscription(self, key_id: str) -> None:
        """Delete a key's subscription. A missing one is no error."""
        ...

    def remember(self, answer: KeptAnswer) -> None:
        """Store an answer to repeat, in place of an older one with the same hash."""
        ...

    def forget(self, before: datetime) -> None:
        """Delete answers that were stored before then."""
        ...


class Store(Protocol):
    """Reads and writes the database. Every method raises StoreUnavailable when it does not answer."""

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, oldest first, as last committed by any process. Cheap enough to call each time."""
        ...

    def intents(self) -> tuple[Intent, ...]:
        """Return the intents of keys that are being started. Cheap enough to call each time."""
        ...

    def stops(self) -> tuple[Stop, ...]:
        """Return the stops not yet confirmed by the node or answered to the client. Cheap enough to call each time."""
        ...

    def answered(self, key_hash: str, since: datetime) -> KeptAnswer | None:
        """Return the answer that was stored under this hash since then, None when there is none."""
        ...

    def traffic(self, uuid: str) -> Traffic:
        """Return what a key has used, as far as samples were merged."""
        ...

    def traffic_of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """Return what several keys have used, by UUID, as far as samples were merged."""
        ...

    def totals(self) -> Mapping[str, Total]:
        """Return what each key has used, by UUID, as far as samples were merged; unused keys are left out."""
        ...

    def tally(self) -> Tally:
        """Return all that was ever counted, as far as samples were merged."""
        ...

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """Return what was counted of a key (None: of all existing keys) by hour, long ago by day (`fold_into_days`)."""
        ...

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens, also expired and revoked ones, oldest first. Cheap enough to call each time."""
        ...

    def subscriptions(self) -> Mapping[str, Subscription]:
        """Return all subscriptions, by the hash of their tokens. Cheap enough to call each time."""
        ...

    def webhooks(self) -> tuple[Webhook, ...]:
        """Return all webhooks, oldest first. Cheap enough to call each time."""
        ...

    def unsettled(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return up to `limit` deliveries that a webhook still waits for, oldest first."""
        ...

    def deliveries(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return up to `limit` deliveries of a webhook (delivered, given up or waiting), newest first."""
        ...

    def counted(self, epoch: str, uuid: str) -> Bytes:
        """Return the highest counters of a key that were merged in an epoch."""
        ...

    # All at once, because each look at the limits asks for all limited keys.
    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return the bytes that keys have used, by UUID, as far as samples were merged, and as if `fresh` were too.

        `since` has for each UUID the start of an hour, or None; use counts from there or the last reset, if later.
        `fresh` has a sample of an epoch at most once.
        """
        ...

    def audit(self, limit: int, before_id: int | None = None, subject: str | None = None) -> tuple[Record, ...]:
        """Return up to `limit` records of the audit log, newest first, before a record or about a subject if given."""
        ...

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """Add a record of something that is no change of the database to the audit log."""
        ...

    # Without waiting for the disk a commit took 1.2 ms instead of 11.2 (docs/adr/0016-one-road.md).
    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> AbstractContextManager[Transaction]:
        """Begin a write transaction, after waiting so long for others at most.

        With `durable=False`, a power cut may lose it, as a whole.
        """
        ...

    def close(self) -> None:
        """Close all connections to the database."""
        ...
