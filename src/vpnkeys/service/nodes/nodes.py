"""Tells which nodes there are, and how each of them follows the database."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

from vpnkeys.domain.errors import KeyElsewhere
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes import LOCAL, HostState, NodeRecord, NodeRef, NodeState, Sighting, find_node, state_of
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.traffic import NOTHING, Bytes
from vpnkeys.interfaces import Clock, Store
from vpnkeys.service.nodes.absent import NO_NODE_HERE
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.report import Reporter


@dataclass(frozen=True, slots=True)
class Following:
    """How far a node has followed the database.

    `desired` and `applied` are revisions of the keys: of the database, and the one that the node was last seen to have.
    That is None when what it has is no revision, or none was seen since the server's start. `lag_s` is for how long it
    is known to be behind.
    """

    desired: int
    applied: int | None
    lag_s: float


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node, and how it is now. `seen_at` is when it was last heard of, UTC without an offset; None: never.

    `failed` has a code for each of its keys that is not there as it should be. `traffic` was counted there, for keys
    that exist. The versions are of its programs; empty for the built-in node, whose programs are this server's.
    """

    record: NodeRecord
    state: NodeState
    address: str
    public_key: str
    pool: PortRange | None
    keys: int
    seen_at: datetime | None
    following: Following
    names_ready: int
    host: HostState = field(default_factory=HostState)
    failed: Mapping[str, str] = field(default_factory=dict)
    traffic: Bytes = NOTHING
    version: str = ""
    xray_version: str = ""

    @property
    def is_up(self) -> bool:
        """Whether it was heard of lately."""
        return self.state in {NodeState.UP, NodeState.DRAINED}

    @property
    def places(self) -> int | None:
        """How many keys it can have; None while its ports are not known."""
        if self.pool is None:
            return None
        most = self.record.max_keys
        return len(self.pool) if most is None else min(len(self.pool), most)


@dataclass(slots=True)
class NodeService:
    """Tells how all nodes are."""

    reporter: Reporter
    pool: PortRange
    clock: Clock
    board: Board
    monotonic: Callable[[], float] = time.monotonic
    has_local: bool = True
    """Whether the server runs the built-in node; without it that is shown as drained, and nothing of it is known."""
    local_host: Callable[[], HostState] = HostState
    _applied: int | None = field(default=None, init=False)
    _behind_since: float | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def records(self) -> tuple[NodeRecord, ...]:
        """Return all nodes, in the order of their ids. Raises StoreUnavailable."""
        return self.reporter.reconciler.store.nodes()

    def find(self, id_or_name: str) -> NodeRef:
        """Return the node with this id or name. Raises NodeNotFound, StoreUnavailable."""
        return find_node(self.records(), id_or_name).ref

    def asked(self, id_or_name: str | None) -> tuple[NodeRef, ...]:
        """Return the built-in node, which a request about what this server itself runs may name.

        Raises NodeNotFound, KeyElsewhere for another node, StoreUnavailable.
        """
        if id_or_name is not None and (found := self.find(id_or_name)).id != LOCAL.id:
            msg = f"This is known of the built-in node only; GET /api/nodes/{found.name} says how that node is."
            raise KeyElsewhere(msg)
        if not self.has_local:
            raise KeyElsewhere(NO_NODE_HERE)
        return (LOCAL,)

    def pools_elsewhere(self) -> tuple[tuple[NodeRef, NodeState, PortRange], ...]:
        """Return the ports of each node elsewhere, and its state. Raises StoreUnavailable."""
        seen, now = self._store.sightings(), self.clock.now()
        others = (one for one in self.records() if one.ref.id != LOCAL.id)
        return tuple((one.ref, state_of(one, seen.get(one.ref.id), now), one.ports) for one in others if one.ports)

    def are_synchronized(self) -> bool:
        """Return whether every node elsewhere that is up has all that it should. Raises StoreUnavailable."""
        up = (one for one in self.list() if one.record.ref.id != LOCAL.id and one.is_up)
        return all(one.following.applied == one.following.desired and not one.failed for one in up)

    def list(self) -> tuple[NodeReport, ...]:
        """Return all nodes as they are now. Raises StoreUnavailable."""
        counted = self._store.counted_by_node()
        return tuple(self._whole(report, counted) for report in self.glance())

    def glance(self) -> tuple[NodeReport, ...]:
        """Return all nodes without what takes longer: traffic, and whether the built-in one follows the database.

        Raises StoreUnavailable.
        """
        records = self.records()
        seen = self._store.sightings() if len(records) > 1 else {}
        return tuple(self._report(record, seen.get(record.ref.id)) for record in records)

    def get(self, id_or_name: str) -> NodeReport:
        """Return a node as it is now. Raises NodeNotFound, StoreUnavailable."""
        record = find_node(self.records(), id_or_name)
        report = self._report(record, self._store.sightings(record.ref.id).get(record.ref.id))
        return self._whole(report, self._store.counted_by_node())

    @property
    def _store(self) -> Store:
        return self.reporter.reconciler.store

    def _whole(self, report: NodeReport, counted: Mapping[int, Bytes]) -> NodeReport:
        node_id = report.record.ref.id
        following = self._following() if node_id == LOCAL.id else report.following
        return replace(report, following=following, traffic=counted.get(node_id, NOTHING))

    def _report(self, record: NodeRecord, seen: Sighting | None) -> NodeReport:
        if record.ref.id != LOCAL.id:
            return self._report_far(record, seen)
        if not self.has_local:
            nothing = Following(self._store.revision(), None, 0.0)
            return NodeReport(record, NodeState.DRAINED, "", "", None, 0, None, nothing, 0)
        reconciler = self.reporter.reconciler
        return NodeReport(
            record=record,
            state=record.state,
            address=reconciler.site.server_address,
            public_key=reconciler.site.public_key,
            pool=self.pool,
            keys=len(reconciler.stops.own_keys()),
            seen_at=self.clock.now(),
            following=Following(reconciler.store.revision(), None, 0.0),
            names_ready=len(reconciler.node.ready_names()),
            host=self.local_host(),
        )

    def _report_far(self, record: NodeRecord, seen: Sighting | None) -> NodeReport:
        confirmed, wanted = self.board.confirmed(record.ref.id), self.board.wanted(record.ref.id)
        is_there = wanted.is_had(confirmed)
        applied = None if confirmed is None else wanted.revision if is_there else confirmed.revision
        now = self.clock.now()
        lag_s = 0.0 if is_there else self.monotonic() - wanted.since
        return NodeReport(
            record=record,
            state=state_of(record, seen, now),
            address=record.address,
            public_key=record.public_key,
            pool=record.ports,
            keys=len(Keys.of(self._store.keys()).by_node().get(record.ref.id, ())),
            seen_at=None if seen is None else seen.at,
            following=Following(wanted.revision, applied, lag_s),
            names_ready=0 if seen is None else len(seen.names),
            host=HostState() if seen is None or seen.is_past(now) else seen.host,
            failed={} if confirmed is None else confirmed.failed,
            version="" if seen is None else seen.version,
            xray_version="" if seen is None else seen.xray_version,
        )

    def _following(self) -> Following:
        """Compare the node with the database now."""
        reconciler = self.reporter.reconciler
        # Before the comparison, which may be with newer keys already: a node that has those has had these.
        desired = reconciler.store.revision()
        observed, todo = self.reporter.plan()
        now = self.monotonic()
        with self._lock:
            if observed.running is not None and not todo:
                self._applied, self._behind_since = max(desired, self._applied or 0), None
                return Following(desired, desired, 0.0)
            if self._behind_since is None:
                self._behind_since = now
            repairer = reconciler.worker.status()
            failing_s = repairer.failing_for_s if repairer is not None else None
            # Seen with this revision before, it has lost something since: what it has now is none.
            applied = None if self._applied == desired else self._applied
            return Following(desired, applied, max(now - self._behind_since, failing_s or 0.0))
