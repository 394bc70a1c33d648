"""Takes what agents report: the counters of their Xrays, and what their nodes have by now."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

from vpnkeys.domain.actor import Actor, acting, current_actor
from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import Rejected
from vpnkeys.domain.key import ACCOUNT, ID, Keys
from vpnkeys.domain.nodes import SILENT_AFTER, Confirmed, HostState, NodeRecord, NodeState, Sighting
from vpnkeys.domain.traffic import Bytes, EpochSample, Samples
from vpnkeys.interfaces import Clock, Store, Transaction
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.refusals import Refusals
from vpnkeys.service.nodes.wanted import Wanted

T = TypeVar("T")


class ReportRefused(Rejected):
    """Says that an agent reported about keys of another node, or that it is not the node's agent any more."""

    code = "report_refused"


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a report has brought: what its node should have and confirms, and by accounts what was used."""

    node_id: int
    wanted: Wanted
    found: Confirmed | None
    used: Sequence[tuple[Mapping[str, Bytes], Mapping[str, datetime]]]


@dataclass(frozen=True, slots=True)
class NodeReported:
    """What an agent says of its node: what it has, its lives, and itself. `sent_at` is by the node's clock.

    `ticket` is the newest with which it was told `mark` (`wanted.Wanted`); empty of one that has none. `began`: see
    `wire.agents.Report`.
    """

    mark: str
    failed: Mapping[str, str]
    sent_at: datetime
    lives: tuple[EpochSample, ...]
    sighting: Sighting
    online: Mapping[str, int] = field(default_factory=dict)
    ticket: str = ""
    cpu_share: float | None = None
    began: Mapping[str, datetime] = field(default_factory=dict)


Reported: TypeAlias = tuple[NodeRecord, NodeReported, Actor]
"""What the agent of a node says, and the agent as the audit log knows it."""


@dataclass(slots=True)
class ReportService:
    """Stores reports, each as a whole, and notes what nodes have.

    A report that is lost, doubled, late or out of order changes no total: counters are merged by their maximum.
    """

    board: Board
    clock: Clock
    refusals: Refusals
    on_traffic: Callable[[Mapping[str, Bytes], Mapping[str, datetime]], None] = lambda _added, _used_at: None

    @property
    def _store(self) -> Store:
        return self.board.store

    def receive(self, node: NodeRecord, report: NodeReported) -> Wanted:
        """Store a report; return what the node should have. Raises ReportRefused, StoreUnavailable."""
        (answer,) = self.receive_all([(node, report, current_actor())])
        if isinstance(answer, ReportRefused):
            raise answer
        return answer

    def receive_all(self, reports: Sequence[Reported]) -> list[Wanted | ReportRefused]:
        """Store what agents report in one commit; return what each node should have, or why its report is refused.

        Raises StoreUnavailable; then none is stored.
        """
        self.refusals.settle()
        answers: list[Wanted | ReportRefused | None] = []
        for node, report, actor in reports:
            answers.append(foreign := self._foreign_in(node, report))
            if foreign is not None:
                with acting(actor):
                    self.refusals.note(foreign.code, Entry("node.reported", str(node.ref.id)), str(foreign))
        stored: list[_Stored] = []
        if None in answers:
            with self._store.write() as transaction:
                for place, (node, report, _) in enumerate(reports):
                    try:
                        if answers[place] is None:
                            take_token(transaction, self._store.nodes(), node)
                            stored.append(one := self._put(transaction, node.ref.id, report))
                            answers[place] = one.wanted
                    except ReportRefused as refusal:
                        answers[place] = refusal
        for one in stored:
            if one.found is not None:
                self.board.confirm(one.node_id, one.found)
            for added, used_at in one.used:
                self.on_traffic(added, used_at)
        return [answer for answer in answers if answer is not None]

    def _put(self, transaction: Transaction, node_id: int, report: NodeReported) -> _Stored:
        now = self.clock.now()
        began = {one: _by_our_clock(at, report, now) for one, at in self._own_of(node_id, report.began).items()}
        # First when times began: what was used since does not say it so well.
        used: list[tuple[Mapping[str, Bytes], Mapping[str, datetime]]] = [({}, began)]
        for samples, at, has_ended in _in_time(report, now):
            mine = replace(samples, node_id=node_id)
            used.append((added := transaction.ledger.merge(mine, at), dict.fromkeys(added, at)))
            if has_ended:
                transaction.ledger.end_epoch(mine.epoch, at, node_id)
        wanted, found = self._heard(transaction, node_id, report)
        return _Stored(node_id, wanted, found, used)

    def online(self) -> Mapping[str, int]:
        """Return from how many devices keys elsewhere are online, by account, as their nodes have just reported.

        Any control plane may have taken the reports. Raises StoreUnavailable.
        """
        now = self.clock.now()
        return self._store.online(now - SILENT_AFTER, now + SILENT_AFTER)

    def _own_of(self, node_id: int, said: Mapping[str, T]) -> dict[str, T]:
        """Return what is said of keys that live on the node: of others it has nothing to say."""
        known = Keys.of(self._store.keys()).by(ACCOUNT)
        return {one: what for one, what in said.items() if one in known and known[one].node.id == node_id}

    def _heard(self, transaction: Transaction, node_id: int, report: NodeReported) -> tuple[Wanted, Confirmed | None]:
        """Store how the node was seen and what it confirms; return what it should have, and what it confirms of that.

        What was said before something that it has confirmed since says nothing of now, however late it comes in: the
        node may have had something else meanwhile. That is None, as what says nothing of this database is.
        """
        wanted, was = self.board.wanted(node_id), transaction.nodes.confirmed(node_id)
        found = wanted.confirmed_by(report.mark, report.failed, report.ticket)
        if found is not None and was is not None and found.revision < was.revision <= wanted.looked:
            # An agent that has just started knows the ticket of what is on its disk, and no newer one.
            found = replace(found, revision=was.revision) if found.mark == was.mark else None
        news = None if found == was else found
        now = self.clock.now()
        host = HostState(report.cpu_share, (report.sent_at - now).total_seconds())
        seen = replace(report.sighting, at=now, confirmed=news, host=host)
        transaction.nodes.put_sighting(node_id, seen, self._own_of(node_id, report.online))
        if found is not None and found.mark == wanted.mark and wanted.is_had(found):
            self._confirm_stops(transaction, node_id)
        return wanted, found

    def _confirm_stops(self, transaction: Transaction, node_id: int) -> None:
        """Note that the node has stopped all that it has to: it has exactly what it should.

        A key that lives elsewhere by now is finished here: its last counters are in the report.
        """
        # As this transaction sees them: a key that has just moved back must not be finished by an older report.
        keys = Keys.of(transaction.keys()).by(ID)
        pending = [stop for stop in transaction.stops() if stop.node_id == node_id and not stop.is_confirmed]
        moved = {one.id for stop in pending if (one := keys.get(stop.key_id)) is not None and one.node.id != node_id}
        transaction.put_stops(replace(stop, is_confirmed=True) for stop in pending if stop.key_id not in moved)
        transaction.drop_stops(moved, node_id)

    def _foreign_in(self, node: NodeRecord, report: NodeReported) -> ReportRefused | None:
        """Return the refusal of counters of keys that have never lived there.

        Those of deleted keys are left out by the ledger.
        """
        known, mine = Keys.of(self._store.keys()).by(ACCOUNT), node.ref.id
        named = (known.get(account) for life in report.lives for account in life.samples.usage)
        foreign = {key.account: key.id for key in named if key is not None and key.node.id != mine}
        if foreign:
            leaving = {stop.key_id for stop in self._store.stops() if stop.node_id == mine}
            counted = {uuid for life in self._store.lives(mine) for uuid in life.samples.usage}
            foreign = {one: key_id for one, key_id in foreign.items() if one not in counted and key_id not in leaving}
        if not foreign:
            return None
        msg = (
            f"Node {node.ref.name} reported {len(foreign)} counters of keys that live on other nodes; none is counted."
        )
        return ReportRefused(msg)


def take_token(transaction: Transaction, nodes: Iterable[NodeRecord], node: NodeRecord) -> NodeRecord:
    """Return a node as it is stored, once the token of the agent that asks is its only one.

    Raises ReportRefused for an agent whose node was given up, or has another agent, since it was recognised.
    """
    stored = next((one for one in nodes if one.ref.id == node.ref.id), None)
    if stored is not None and stored.state is not NodeState.LOST:
        if stored.token_digest == node.token_digest:
            return stored
        if stored.next_digest == node.token_digest and node.token_since is not None:
            transaction.nodes.put(renewed := stored.with_next_token(node.token_since))
            return renewed
    raise ReportRefused(f"Node {node.ref.name} has another agent by now, or was given up.")


def _in_time(report: NodeReported, now: datetime) -> Iterable[EpochSample]:
    """Return the lives, oldest first, by our own clock."""
    for samples, at, has_ended in sorted(report.lives, key=lambda life: life.at):
        yield EpochSample(samples, _by_our_clock(at, report, now), has_ended)


def _by_our_clock(at: datetime, report: NodeReported, now: datetime) -> datetime:
    """Return a time in a report by our own clock: how long ago it was, both clocks agree on."""
    return now - max(report.sent_at - at, timedelta())


def life_of(epoch: str, usage: Mapping[str, tuple[int, int]], at: datetime, *, has_ended: bool) -> EpochSample:
    """Return a life as an agent sent it; of which node it is, its token says."""
    return EpochSample(Samples(epoch, {uuid: Bytes(*used) for uuid, used in usage.items()}), at, has_ended)
