"""The promises between the rooms: whatever keeps them can stand in (the real thing, a remote one, a fake)."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.event import News
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.trial import Trial
from vpnkeys.domain.webhook import Delivery, Webhook


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """UTC, without an offset."""
        ...


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
    """A write transaction: nobody else writes meanwhile. Leaving it commits durably; an exception rolls it back.

    Every change of keys stands in the audit log from the same commit on, with whoever acts (`domain.actor`); when it is
    rolled back for a reason that can be told, that stands there instead, unless it was the server that tried by itself.
    In the same commit webhooks are to be told of it (`domain.event`), and of every gap that the ledger finds.
    """

    def keys(self) -> tuple[Key, ...]:
        """All keys as this transaction sees them, oldest first."""
        ...

    def insert(self, key: Key) -> None:
        """Add a key. Its id, UUID, port and short id must be new."""
        ...

    def update(self, key: Key) -> None:
        """Change a key; its id, UUID and port stay."""
        ...

    def delete(self, key_id: str) -> None:
        """Remove a key and all that belongs to it. A missing one is no error."""
        ...

    def move(self, ports: Mapping[str, int], at: datetime) -> None:
        """Give keys (by id) other ports, all at once, so that they may swap."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The accounts of traffic."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The webhooks."""
        ...

    def tell(self, news: News) -> None:
        """Let webhooks be told something that this transaction cannot know by itself."""
        ...

    def record(self, entry: Entry) -> None:
        """Write something into the audit log that this transaction cannot know by itself."""
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

    def remembered(self, key_hash: str, since: datetime) -> tuple[str, str] | None:
        """The body's hash and the answer that were remembered under this hash since then."""
        ...

    def remember(self, key_hash: str, body_hash: str, answer: str, at: datetime) -> None:
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

    def write(self) -> AbstractContextManager[Transaction]:
        """Begin a write transaction."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Counters(Protocol):
    """The counters of one Xray."""

    def sample(self) -> Samples:
        """The cumulative counters. Never resets them. Raises XrayUnavailable."""
        ...


class Node(Protocol):
    """One Xray and its config.json."""

    def observe(self) -> Observed:
        """What the file and the running Xray are at this moment."""
        ...

    def apply(self, plan: Plan) -> None:
        """Carry a plan out; safe to repeat after `observe`.

        Raises ConfigUnwritable or ConfigRefused before anything was changed, XrayUnavailable or XrayRefused when the
        running Xray did not follow.
        """
        ...

    def sample(self) -> Samples:
        """The cumulative counters. Never resets them. Raises XrayUnavailable."""
        ...

    def check(self, desired: tuple[Inbound, ...]) -> None:
        """Let Xray itself test a config.json with these inbounds; nothing is written. Raises what `apply` raises."""
        ...

    def quiesce(self) -> Samples:
        """End all customers' connections, let no new ones in, and give the last counters. Raises XrayUnavailable.

        Meant for just before `restart`: whatever passes after these counters were read would not be counted.
        """
        ...

    def restart(self) -> None:
        """End the running Xray and return when a new one answers. Raises XrayUnavailable when none does in time."""
        ...

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Limit what goes through these ports, each way, and no other. Raises SpeedLimitImpossible."""
        ...

    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """From which addresses customers are online now, by key UUID. Raises XrayUnavailable."""
        ...

    def cut_device(self, port: int, address: str) -> None:
        """End the open connections from this address to this port."""
        ...

    def is_up(self) -> bool:
        """Whether the running Xray takes connections on its API."""
        ...

    def is_free(self, port: int) -> bool:
        """Whether nothing listens on this TCP port of the host."""
        ...

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """The server names that can be handed out: a client gets in at once, and their targets are fit.

        Waits up to `wait_s` for the first one.
        """
        ...

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """What was seen of the targets when they were last looked at, which is every minute."""
        ...

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """Look at the targets of all server names now."""
        ...

    def try_link(self, key: Key) -> Trial:
        """Let a real client go through the key's own port and back; within ten seconds, and nothing is left of it."""
        ...

    def check_file(self) -> None:
        """Let Xray itself test config.json as it is. Raises ConfigRefused."""
        ...
