"""A whole service in memory, whose clock and customers are in a test's hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fake_store import FakeStore, FakeTransaction
from tests.fakes import Connection, FakeClock, FakeNode
from tests.support.waiting import FakeWaiting
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status
from vpnkeys.domain.making import Draft
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.interfaces import PATIENCE_S
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.limits.quotas import QuotaWatch
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.traffic import TrafficService

SITE = ServerIdentity("127.0.0.1", KeyPair.of_private("A" * 43).private_key, "/run/vpnkeys", ("a.example",))
HOME = "192.0.2.1"


@dataclass(slots=True)
class CountingStore(FakeStore):
    """Counts write transactions."""

    writes: int = 0

    @contextmanager
    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[FakeTransaction]:
        """One more."""
        self.writes += 1
        with FakeStore.write(self, durable=durable, patience_s=patience_s) as transaction:
            yield transaction


@dataclass(slots=True)
class World:
    """A server that runs, in memory."""

    store: CountingStore = field(default_factory=CountingStore)
    clock: FakeClock = field(default_factory=FakeClock)
    node: FakeNode = field(default_factory=lambda: FakeNode(names=frozenset(SITE.server_names)))
    keys: KeyService = field(init=False)
    enforcer: Enforcer = field(init=False)
    quotas: QuotaWatch = field(init=False)
    waiting: FakeWaiting = field(default_factory=FakeWaiting)

    def __post_init__(self) -> None:
        """Start it."""
        reconciler = Reconciler(self.store, self.node, self.node, SITE)
        traffic = TrafficService(self.store, self.node, self.clock)
        changer = KeyChanger(reconciler, self.clock, used_bytes=traffic.usage.read)
        self.keys = KeyService(changer, PortRange(10001, 10004))
        self.enforcer = Enforcer(self.keys, traffic, self.waiting.now)
        self.quotas = QuotaWatch(self.keys, traffic, self.waiting.now)
        self.node.apply(reconciler.compare()[1])
        self.node.start_xray()
        reconciler.reconcile()

    def make(self, limits: Limits = NO_LIMITS) -> Key:
        """Create a key with these limits."""
        self.clock.advance(seconds=1)
        return self.keys.create(Draft("x", limits=limits))

    def make_fails(self, *errors: type[Exception]) -> tuple[Key, ...]:
        """Make a key in vain; the keys that there are more than before."""
        before = self.keys.list()
        try:
            self.make()
        except errors:
            return tuple(key for key in self.keys.list() if key not in before)
        raise AssertionError("made")

    def customer(self, key: Key, address: str = HOME) -> Connection:
        """A client that is connected."""
        connection = self.node.connect(key, address)
        assert connection is not None
        return connection

    def look(self) -> None:
        """Enforce the limits once, with a new sample where one is needed."""
        self.enforcer._sampled_at = float("-inf")
        self.enforcer.look()

    def status(self, key: Key) -> Status:
        """Return the status of a key, read from the store."""
        return self.keys.get(key.id).status

    def limit(self, key: Key, limits: Limits) -> Key:
        """Give a key other limits."""
        return self.keys.change(key.id, lambda key: Draft(key.name, key.note, limits, key.is_active))
