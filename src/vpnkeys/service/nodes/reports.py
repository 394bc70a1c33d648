"""Takes what agents report: the counters of their Xrays, and what their nodes have by now."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.errors import Rejected
from vpnkeys.domain.key import ACCOUNT, Keys
from vpnkeys.domain.nodes import NodeRecord, Sighting
from vpnkeys.domain.traffic import Bytes, EpochSample, Samples
from vpnkeys.interfaces import Clock, Store, Transaction
from vpnkeys.service.nodes.board import Board


class ReportRefused(Rejected):
    """Says that an agent reported about keys of another node."""

    code = "report_refused"


@dataclass(frozen=True, slots=True)
class NodeReported:
    """What an agent says of its node: what it has, its lives, and itself. `sent_at` is by the node's clock."""

    mark: str
    failed: Mapping[str, str]
    sent_at: datetime
    lives: tuple[EpochSample, ...]
    sighting: Sighting
    online: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class ReportService:
    """Stores reports, each as a whole, and notes what nodes have.

    A report that is lost, doubled, late or out of order changes no total: counters are merged by their maximum.
    """

    board: Board
    clock: Clock
    on_traffic: Callable[[], None] = lambda: None
    _online: dict[int, Mapping[str, int]] = field(default_factory=dict, init=False)

    @property
    def _store(self) -> Store:
        return self.board.store

    def receive(self, node: NodeRecord, report: NodeReported) -> str:
        """Store a report; return the mark of what the node should have. Raises ReportRefused, StoreUnavailable."""
        self._refuse_others(node, report)
        node_id, now = node.ref.id, self.clock.now()
        with self._store.write() as transaction:
            for samples, at, has_ended in _in_time(report, now):
                mine = replace(samples, node_id=node_id)
                transaction.ledger.merge(mine, at)
                if has_ended:
                    transaction.ledger.end_epoch(mine.epoch, at, node_id)
            transaction.nodes.put_sighting(node_id, replace(report.sighting, at=now))
            wanted = self.board.wanted(node_id)
            if report.mark == wanted.mark:
                self._confirm_stops(transaction, node_id)
        self._online[node_id] = report.online
        self.board.confirm(node_id, report.mark, report.failed)
        if any(life.samples.usage for life in report.lives):
            self.on_traffic()
        return wanted.mark

    def online(self) -> Mapping[str, int]:
        """Return from how many devices keys elsewhere are online, as last reported, by account."""
        return {account: devices for online in self._online.values() for account, devices in online.items()}

    def _confirm_stops(self, transaction: Transaction, node_id: int) -> None:
        """Note that the node has stopped all that it has to: it has exactly what it should."""
        pending = (stop for stop in self._store.stops() if stop.node_id == node_id and not stop.is_confirmed)
        transaction.put_stops(replace(stop, is_confirmed=True) for stop in pending)

    def _refuse_others(self, node: NodeRecord, report: NodeReported) -> None:
        """Refuse counters of keys that live on other nodes. Those of deleted keys are left out by the ledger."""
        others = Keys.of(self._store.keys()).off(node.ref.id).by(ACCOUNT)
        foreign = sum(account in others for life in report.lives for account in life.samples.usage)
        if foreign:
            msg = f"Node {node.ref.name} reported {foreign} counters of keys that live on other nodes; none is counted."
            self._store.record(Entry("node.reported", str(node.ref.id)), Outcome.FAILED, msg)
            raise ReportRefused(msg)


def _in_time(report: NodeReported, now: datetime) -> Iterable[EpochSample]:
    """Return the lives, oldest first, by our own clock: how long ago a sample was taken, both clocks agree on."""
    for samples, at, has_ended in sorted(report.lives, key=lambda life: life.at):
        yield EpochSample(samples, now - max(report.sent_at - at, timedelta()), has_ended)


def life_of(epoch: str, usage: Mapping[str, tuple[int, int]], at: datetime, *, has_ended: bool) -> EpochSample:
    """Return a life as an agent sent it; of which node it is, its token says."""
    return EpochSample(Samples(epoch, {uuid: Bytes(*used) for uuid, used in usage.items()}), at, has_ended)
