"""Declares the protocols of a database."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, Protocol

from vpnkeys.domain.audit import EVERYTHING, Entry, Filter, Outcome, Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import NewEvent
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.nodes import LOCAL, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Bytes, EpochSample, Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.interfaces.leases import Leases
from vpnkeys.interfaces.ledger import Ledger
from vpnkeys.interfaces.nodes import ForNodes, NodeBook
from vpnkeys.interfaces.outbox import Outbox

PATIENCE_S: Final = 5.0
"""How long a writer waits for the others."""
BRIEFLY_S: Final = 0.3
"""The same for what is repeated anyway, and must not delay keys that have to stop."""


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


class Store(Protocol):
    """Reads and writes the database. Every method raises StoreUnavailable when it does not answer."""

    @property
    def is_remote(self) -> bool:
        """Return whether each question costs an exchange with another process, perhaps on another machine."""
        ...

    def may_wait(self) -> bool:
        """Return whether the calling thread may ask: an event loop waits for no database elsewhere."""
        ...

    # No event loop waits for a database elsewhere: there, what is "cheap enough to call each time" is of the last look.
    def look(self) -> None:
        """Look at what other processes have changed, so that an event loop may read it."""
        ...

    # A key that has to stop cannot wait for a database elsewhere: what was true a moment ago is enough to stop it.
    def last_known(self) -> tuple[tuple[Key, ...], tuple[Intent, ...], tuple[Stop, ...]]:
        """Return keys, intents and stops as they are now; of the last look while a database elsewhere is silent."""
        ...

    def refusal(self) -> str:
        """Return in a few words why the last look or change found that nothing can be stored; "" where it can."""
        ...

    # To write any row is not enough: a table may be locked, or the disk be full but for that row.
    def try_out(self, answer: KeptAnswer) -> None:
        """Store an answer, and use all that a change of keys needs; when that succeeds, no `refusal` is left."""
        ...

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, oldest first, as last committed by any process. Cheap enough to call each time."""
        ...

    def intents(self) -> tuple[Intent, ...]:
        """Return the intents of keys that are being started. Cheap enough to call each time."""
        ...

    def stops(self) -> tuple[Stop, ...]:
        """Return the stops not yet confirmed by the node or answered to the client. Cheap enough to call each time."""
        ...

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return all nodes, the built-in one first; as of the last look while a database elsewhere is silent."""
        ...

    def doors(self) -> tuple[Door, ...]:
        """Return all doors, by port. Cheap enough to call each time, and as of the last look likewise."""
        ...

    def knows_join(self, digest: str) -> bool:
        """Return whether there was ever a join with this digest, be it used or expired, of a node that is there."""
        ...

    def for_nodes(self) -> ForNodes:
        """Return what nodes elsewhere should have, of one moment. Raises StoreUnavailable."""
        ...

    def sightings(self, node_id: int | None = None) -> Mapping[int, Sighting]:
        """Return how nodes elsewhere were last seen, by id; those that never were are left out. None: of all nodes."""
        ...

    def online(self, since: datetime, until: datetime) -> Mapping[str, int]:
        """Return from how many devices keys are online on the nodes that were seen between these, by account."""
        ...

    def revision(self) -> int:
        """Return a number that grows with each change of keys, of any process. Cheap enough to call each time."""
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

    def counted_by_node(self) -> Mapping[int, Mapping[str, Bytes]]:
        """Return the bytes ever counted on each node, by its id, of each existing key, by UUID; as `tally` does."""
        ...

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """Return what was counted of a key (None: of all existing keys) by hour, long ago by day (`fold_into_days`)."""
        ...

    def lives(self, node_id: int = LOCAL.id) -> tuple[EpochSample, ...]:
        """Return all counters of a node, by the life of its Xray, oldest first, as far as merged."""
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

    def notices(self) -> Mapping[str, Notice]:
        """Return how near keys are to their traffic limits, by id, as webhooks have been notified."""
        ...

    def counted(self, epoch: str, uuid: str, node_id: int = LOCAL.id) -> Bytes:
        """Return the highest counters of a key that were merged in an epoch of a node."""
        ...

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return the bytes that keys have used, by UUID, as far as samples were merged, and as if `fresh` were too.

        `since` has for each UUID the start of an hour, or None; use counts from there or the last reset, if later.
        `fresh` has a sample of an epoch at most once.
        """
        ...

    def audit(
        self, limit: int, before_id: int | None = None, subject: str | None = None, chosen: Filter = EVERYTHING
    ) -> tuple[Record, ...]:
        """Return up to `limit` chosen records of the audit log, newest first, before a record or about a subject."""
        ...

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """Add a record of something that is no change of the database to the audit log."""
        ...

    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> AbstractContextManager[Transaction]:
        """Begin a write transaction, after waiting so long for others; a power cut may lose one that is not durable."""
        ...

    def close(self) -> None:
        """Close all connections to the database."""
        ...
