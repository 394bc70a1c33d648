"""Implements the use cases about keys. They only decide what changes; `service.change` carries it out."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, filterfalse, islice
from typing import Final, TypeVar

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import TargetsUnready, Unavailable
from vpnkeys.domain.forms.vless import render_link
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key, Keys, find
from vpnkeys.domain.making import Draft, Supply, made, refused_choice, require_places, too_few_ports
from vpnkeys.domain.nodes import ANY_NODE, LOCAL, NodeRecord, NodeRef, NodeWish
from vpnkeys.domain.portpool import PortRange
from vpnkeys.interfaces import Clock
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.idempotency import Decide, Repeat, Repeats, answered, change_once
from vpnkeys.service.nodes.elsewhere import Elsewhere
from vpnkeys.service.nodes.far import FarRoad
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_FOR_NAMES_S = 7.0
"""A little more than the five seconds for which REALITY probes a target at most (docs/adr/0004-warm-names.md)."""

_NO_NAME: Final = (
    "No server name works now: no client gets through to any target. Just after a start, try again in a few seconds; "
    "otherwise `vpnkeys system targets` says what is wrong with each name, and others can be set in "
    "VPNKEYS_REALITY_SERVER_NAMES."
)


@dataclass(frozen=True, slots=True)
class KeyService:
    """Implements the use cases about keys: those of the built-in node itself, all others by the road of their node."""

    changer: KeyChanger
    pool: PortRange
    elsewhere: Elsewhere | None = None
    far: FarRoad | None = None
    """The road of the node elsewhere whose keys this makes and changes; None: the changer's."""
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def node(self) -> NodeRef:
        """Return the node whose keys this makes and changes."""
        return LOCAL if self.far is None else self.far.record.ref

    @property
    def reconciler(self) -> Reconciler:
        """Return the reconciler, which brings config.json and Xray to the keys of the database."""
        return self.changer.reconciler

    @property
    def clock(self) -> Clock:
        """Return the clock that limits follow."""
        return self.changer.clock

    def list(self) -> Keys:
        """Return all keys of all nodes, oldest first."""
        return self.reconciler.stops.keys()

    def get(self, id_or_uuid: str) -> Key:
        """Return the key with this id or UUID. Raises KeyNotFound."""
        return find(self.list(), id_or_uuid)

    def link(self, key: Key) -> str:
        """Return the `vless://` link that the customer puts into a client."""
        return render_link(key, self.site_of(key))

    def site_of(self, key: Key) -> ServerIdentity:
        """Return what links of this key carry: of the node on which it lives."""
        site = self.reconciler.site
        if self.elsewhere is None or key.node.id == LOCAL.id:
            return site
        record = self.elsewhere.record_of(key)
        return replace(site, server_address=record.address, public_key=record.public_key)

    def create(self, draft: Draft, repeat: Repeat | None = None, wish: NodeWish = ANY_NODE) -> Key:
        """Make a key and return it; when this returns, its link carries traffic. Raises what `create_many` raises."""
        (key,) = self.create_many([draft], repeat, wish)
        return key

    def create_many(
        self, drafts: Iterable[Draft], repeat: Repeat | None = None, wish: NodeWish = ANY_NODE
    ) -> tuple[Key, ...]:
        """Make several keys on one node, all of them or none, and return them in order.

        With `repeat`, the same request again within 24 hours gives the first keys and makes none. Raises KeyNotFound
        when one of those was deleted since, IdempotencyKeyReused after another request, InvalidChoice, AlreadyTaken,
        PortsExhausted, SpeedLimitImpossible, TargetsUnready, or another Unavailable after everything was taken back.
        """
        drafts = tuple(drafts)
        if repeat is None:
            return self._placed(wish, len(drafts), lambda there: there.create_here(drafts))
        with self.repeats.alone(repeat):
            if (known := self.answered(repeat)) is not None:
                return known  # before waiting for names, which a repeated answer does not need
            return self._placed(wish, len(drafts), lambda there: there.create_here(drafts, repeat))

    def create_here(self, drafts: Collection[Draft], repeat: Repeat | None = None) -> tuple[Key, ...]:
        """Make several keys on this node and return them in order. Raises what `create_many` raises."""
        keys, are_new = self.change_once(self._making(tuple(drafts)), repeat)
        return _logged(keys) if are_new else keys

    def answered(self, repeat: Repeat | None) -> tuple[Key, ...] | None:
        """Return the keys of the first answer to a request, None without one. Raises what `Repeat.find` does."""
        return answered(self.reconciler, self.clock.now(), repeat)

    def change(self, id_or_uuid: str, draft_of: Callable[[Key], Draft]) -> Key:
        """Change a key to what `draft_of` makes of it and return it; when this returns, Xray follows the change.

        Its link stays the same unless another port was chosen, 0 for the lowest free one. Raises KeyNotFound,
        InvalidChoice, AlreadyTaken, PortsExhausted and SpeedLimitImpossible, or StopPending, NotWritten or another
        Unavailable, as `KeyChanger.change` does.
        """
        there = self.at(id_or_uuid)

        def decide(seen: Snapshot) -> KeyChanges:
            key = seen.find(id_or_uuid)
            draft = draft_of(key)
            changed = draft.applied_to(key)
            if draft.choices.port not in {None, key.port}:
                (port,) = ports_for(there.pool, seen, [draft.choices.port or None])
                changed = replace(changed, port=port, port_assigned_at=seen.now)
            return KeyChanges(update=seen.under_limits([changed]))

        (key,) = there.change_here(decide).update
        if not key.serves:
            self.stop_before([key.id])
        return key

    def change_here(self, decide: Decide) -> KeyChanges:
        """Carry out a decision on the keys of this node. Raises what `KeyChanger.change` or `FarRoad.change` raises."""
        return self._road.change(decide)

    def change_once(self, decide: Decide, repeat: Repeat | None) -> tuple[tuple[Key, ...], bool]:
        """Carry out a decision once; return its keys, and whether it was now. Raises what `Repeat.find` does too."""
        if repeat is None:
            changes = self.change_here(decide)
            return (*changes.insert, *changes.update), True
        keys, is_new = change_once(self.reconciler, self.change_here, decide, repeat)
        if not is_new and self.far is not None:
            self.far.settle()  # what was stored the first time may not be in force yet
        return keys, is_new

    def delete(self, *ids: str) -> tuple[str, ...]:
        """Remove keys and return their ids; when this returns, they let no client in and their connections are cut.

        A key whose deletion was answered with an error is still found, so that the client can ask until it succeeds.
        Raises KeyNotFound when a key does not exist; then none is removed. Raises StopPending or NotWritten when all
        are removed, and the node or the disk has yet to follow.
        """

        def decide(ids: Sequence[str], seen: Snapshot) -> KeyChanges:
            return KeyChanges(delete=tuple(dict.fromkeys(seen.id_to_stop(key_id) for key_id in ids)))

        parts = self.on_each_node(ids, lambda there, its_ids: there.change_here(partial(decide, its_ids)).delete)
        gone = tuple(chain.from_iterable(parts))
        self.stop_before(gone)
        _log.info("%d keys removed: %s", len(gone), ", ".join(gone))
        return gone

    def stop_before(self, key_ids: Sequence[str]) -> None:
        """Let nodes on which keys have lived before stop them too, where that is still to come.

        Raises what `change_here` raises: a link of a key that has moved off a silent node may still work there.
        """
        if self.elsewhere is None or len(self.reconciler.store.nodes()) == 1:
            return
        for record, its_ids in self.elsewhere.before(key_ids):
            self.on(record).change_here(partial(Snapshot.stopping_here, key_ids=its_ids))

    @property
    def _road(self) -> KeyChanger | FarRoad:
        return self.changer if self.far is None else self.far

    def at(self, id_or_uuid: str) -> "KeyService":
        """Return the use cases of the node on which a key lives, or where it is to stop. Raises StoreUnavailable."""
        return next(there for there, _ in self.by_node([id_or_uuid]))

    def _placed(self, wish: NodeWish, count: int, make: Callable[["KeyService"], T]) -> T:
        """Return so many keys that are made on the best node. Raises what `make` and `Elsewhere.placed` raise."""
        elsewhere, records = self.elsewhere, self.reconciler.store.nodes()
        is_alone = len(records) == 1 and records[0].takes_all
        if elsewhere is None or (is_alone and wish == ANY_NODE and elsewhere.has_local):
            return make(self)
        return elsewhere.placed(wish, count, lambda record: make(self.on(record)))

    def on(self, record: NodeRecord) -> "KeyService":
        """Return the use cases of a node. Raises KeyElsewhere for one that another server runs itself."""
        if self.elsewhere is None or self.elsewhere.is_here(record):
            return self
        return replace(self, pool=record.ports or self.pool, far=self.elsewhere.road(record))

    def on_each_node(self, ids: Iterable[str], act: Callable[["KeyService", Sequence[str]], T]) -> Sequence[T]:
        """Act on the keys of each node in turn. Raises the first error, after all had their turn.

        On one node it is all or nothing. What was done on another one is not taken back, and the error says so.
        """
        done, failed = list[T](), list[Unavailable]()
        left = list[str]()
        for there, its_ids in self.by_node(tuple(ids)):
            try:
                done.append(act(there, its_ids))
            except Unavailable as error:
                failed.append(error)
                left += its_ids
        if failed and done:
            msg = f"{failed[0]} Keys on other nodes are done: ask again for {', '.join(left)} alone."
            raise type(failed[0])(msg) from failed[0]
        if failed:
            raise failed[0]
        return done

    def by_node(self, ids: Sequence[str]) -> Sequence[tuple["KeyService", Sequence[str]]]:
        """Return ids of keys by the use cases of the node on which each lives. May raise KeyNotFound."""
        if self.elsewhere is None or len(self.reconciler.store.nodes()) == 1:
            return [(self, ids)]
        return [(self.on(record), its_ids) for record, its_ids in self.elsewhere.by_node(ids, self.list())]

    def _supply(self, drafts: Collection[Draft]) -> Supply:
        """Return what there is for these drafts. Raises TargetsUnready, XrayUnavailable, NodeSilent."""
        if self.far is not None:
            return self.far.supply(drafts)
        site = self.reconciler.site
        # A name that was chosen has to be among them, so all are looked at.
        many = len(site.server_names if any(draft.choices.sni for draft in drafts) else drafts)
        ready = self.reconciler.node.working_names(many, WAIT_FOR_NAMES_S)
        if not ready:
            raise TargetsUnready(_NO_NAME)
        # A random UUID has no counters: Xray is asked only where one was chosen.
        samples = self.reconciler.node.sample() if any(draft.choices.uuid for draft in drafts) else None
        return Supply(site.server_names, ready, samples)

    def _making(self, drafts: Sequence[Draft]) -> Callable[[Snapshot], KeyChanges]:
        """Return the decision to make these keys. Raises TargetsUnready, XrayUnavailable."""
        supply = self._supply(drafts)  # outside of the lock: it may wait for seconds

        def decide(seen: Snapshot) -> KeyChanges:
            require_places(self.reconciler.store.nodes(), seen, len(drafts))
            ports = ports_for(self.pool, seen, [draft.choices.port for draft in drafts])
            return made(seen, drafts, ports, supply)

        return decide


def ports_for(pool: PortRange, seen: Snapshot, chosen: Sequence[int | None]) -> tuple[int, ...]:
    """Return the chosen ports, and in place of each None the lowest free one that nobody chose.

    Raises InvalidChoice, AlreadyTaken, and what `lowest_free` raises.
    """
    taken = set(seen.taken_ports)
    for wanted in filter(None, chosen):
        if wanted not in pool or wanted in taken or not seen.is_free(wanted):
            raise refused_choice(wanted, pool, seen.node, is_a_keys=wanted in taken)
        taken.add(wanted)
    lowest = iter(lowest_free(pool, sum(not port for port in chosen), taken, seen))
    return tuple(port or next(lowest) for port in chosen)


# Not a pure function of `domain`, because `is_free` tries to listen; so only ports that no key has are asked about.
def lowest_free(pool: PortRange, wanted: int, taken: Collection[int], seen: Snapshot) -> tuple[int, ...]:
    """Return so many of the pool's lowest free ports that no key has.

    Raises PortsExhausted; XrayUnavailable or NodeRefused where pending ones are free in some seconds.
    """
    found = tuple(islice(filter(seen.is_free, filterfalse(taken.__contains__, pool.ports)), wanted))
    if len(found) < wanted:
        raise too_few_ports(wanted, len(found), pool, seen.pending_ports, seen.node)
    return found


def _logged(made: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return these keys, after a line in the log for each."""
    for key in made:
        _log.info("key %s made on port %d", key.id, key.port)
    return made
