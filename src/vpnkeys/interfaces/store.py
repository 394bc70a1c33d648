"""Declares the protocol of a database."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, Protocol

from vpnkeys.domain.audit import EVERYTHING, Entry, Filter, Outcome, Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.nodes import LOCAL, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Bytes, EpochSample, Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.interfaces.nodes import ForNodes
from vpnkeys.interfaces.transaction import Transaction

PATIENCE_S: Final = 5.0
"""How long a writer waits for the others."""
BRIEFLY_S: Final = 0.3
"""The same for what is repeated anyway, and must not delay keys that have to stop."""


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
        """Return all that was ever merged. What it costs does not grow with the keys."""
        ...

    def counted_by_key(self) -> Mapping[str, Bytes]:
        """Return the bytes ever counted of each existing key, by UUID; resets do not change them."""
        ...

    def counted_by_node(self) -> Mapping[int, Bytes]:
        """Return the bytes ever counted on each node, by its id, of the keys that exist; as `counted_by_key` does."""
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
