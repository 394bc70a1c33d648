"""The promises of a database."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.change import Answer, Intent, Stop
from vpnkeys.domain.event import NewEvent
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook


class Ledger(Protocol):
    """The accounts of traffic, inside a write transaction."""

    def merge(self, samples: Samples, at: datetime) -> None:
        """Take in a sample that was taken at this time. Idempotent; counters of unknown keys are left out."""
        ...

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """This life of Xray was ended by us, after its last sample: it leaves no gap."""
        ...

    def reset(self, uuid: str, at: datetime) -> None:
        """Let the key's total be zero from here on; Xray's counters are not touched."""
        ...

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """What a key has used since the beginning of an hour, or of its last reset if that was later; None: in all."""
        ...

    def fold_into_days(self, before: datetime) -> None:
        """Keep what was counted before a midnight by day only."""
        ...

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Start a key with bytes that were counted elsewhere."""
        ...


class Outbox(Protocol):
    """Webhooks, and what they have still to be told, inside a write transaction."""

    def put_webhook(self, webhook: Webhook) -> None:
        """Add a webhook, or change the one with its id."""
        ...

    def delete_webhook(self, webhook_id: str) -> None:
        """Remove a webhook with all its deliveries. A missing one is no error."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """Write down how a try went; nothing when the webhook is gone meanwhile."""
        ...

    def retry_at(self, webhook_id: str, at: datetime) -> None:
        """Let all that a webhook has still to be told be tried at this time."""
        ...

    def prune(self, delivered_before: datetime, given_up_before: datetime) -> None:
        """Forget what was settled, if the event is older."""
        ...


class Transaction(Protocol):
    """A write transaction: nobody else writes meanwhile. Leaving it commits; an exception rolls it back.

    Every change of keys stands in the audit log from the same commit on, with whoever acts (`domain.actor`). In that
    commit webhooks are to be told of it (`domain.event`), and of every gap that the ledger finds.
    """

    def keys(self) -> tuple[Key, ...]:
        """All keys as this transaction sees them, oldest first."""
        ...

    def intents(self) -> tuple[Intent, ...]:
        """The keys that are being started, as this transaction sees them."""
        ...

    def insert(self, key: Key) -> None:
        """Add a key. Its id, UUID, port and short id must be new."""
        ...

    def update(self, *keys: Key) -> None:
        """Change keys; their ids and UUIDs stay. Ports change all at once, so that keys may swap theirs."""
        ...

    def delete(self, key_id: str) -> None:
        """Remove a key and all that belongs to it. A missing one is no error."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The accounts of traffic."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The webhooks."""
        ...

    def add_event(self, event: NewEvent) -> None:
        """Let webhooks be told something that this transaction cannot know by itself."""
        ...

    def record(self, entry: Entry) -> None:
        """Write something into the audit log that this transaction cannot know by itself."""
        ...

    def record_taken_back(self, entries: Iterable[Entry], why: str) -> None:
        """Write into the audit log what was begun and taken back, and why."""
        ...

    def put_intents(self, intents: Iterable[Intent]) -> None:
        """Reserve ports, UUIDs and short ids; no other key may have them, and no other intent."""
        ...

    def drop_intents(self) -> None:
        """Remove all intents."""
        ...

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """Add stops, or change those of the same keys."""
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
        """Take a key's subscription away. A missing one is no error."""
        ...

    def remember(self, answer: Answer) -> None:
        """Remember an answer, in place of an older one."""
        ...

    def forget(self, before: datetime) -> None:
        """Forget answers that were remembered before then."""
        ...


class Store(Protocol):
    """The database. Every method raises StoreUnavailable when it does not answer."""

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first, as last committed by anyone. Cheap enough to ask for each time."""
        ...

    def intents(self) -> tuple[Intent, ...]:
        """The keys that are being started. Cheap enough to ask for each time."""
        ...

    def stops(self) -> tuple[Stop, ...]:
        """The keys that have to stop, or whose clients have not heard that they did. Cheap enough to ask each time."""
        ...

    def answered(self, key_hash: str, since: datetime) -> Answer | None:
        """The answer that was remembered under this hash since then."""
        ...

    def traffic(self, uuid: str) -> Traffic:
        """What a key has used, as far as it was merged."""
        ...

    def traffic_of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """The same of several keys, by UUID."""
        ...

    def totals(self) -> Mapping[str, Total]:
        """What each key that was ever used has used, by UUID, as far as it was merged."""
        ...

    def tally(self) -> Tally:
        """All that was ever counted, as far as it was merged."""
        ...

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """What was counted of a key (None: of all that are there) by hour (older hours: by day), as far as merged."""
        ...

    def tokens(self) -> tuple[Token, ...]:
        """All tokens, also those that open nothing any more, oldest first. Cheap enough to ask for each time."""
        ...

    def subscriptions(self) -> Mapping[str, Subscription]:
        """All subscriptions, by the hash of their tokens. Cheap enough to ask for each time."""
        ...

    def webhooks(self) -> tuple[Webhook, ...]:
        """All webhooks, oldest first. Cheap enough to ask for each time."""
        ...

    def unsettled(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """What a webhook has still to be told, oldest first."""
        ...

    def deliveries(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """What a webhook was told, was not told in the end, or has still to be told, newest first."""
        ...

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """What a key has used, as far as it was merged: see `Ledger.used_bytes`."""
        ...

    def audit(self, limit: int, before_id: int | None = None, subject: str | None = None) -> tuple[Record, ...]:
        """The newest records of the audit log, newest first; only those before a record, or about a subject."""
        ...

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """Write into the audit log what is no matter of the database."""
        ...

    def write(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """Begin a write transaction. One that need not be durable may be lost to a power cut, as a whole."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
