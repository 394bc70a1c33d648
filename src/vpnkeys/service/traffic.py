"""Count every byte once: the one road from Xray's counters to the accounts.

Whoever samples, the service every ten seconds, the timer, a request, does the same: read the counters, and merge them
in one write transaction. How often, in what order and by how many processes makes no difference (`domain.traffic`).
"""

import logging
import threading
import time
from dataclasses import dataclass, field

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Samples, Traffic
from vpnkeys.interfaces import Clock, Node, Store

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class TrafficService:
    """The use cases about traffic."""

    store: Store
    node: Node
    clock: Clock
    _sampling: threading.Lock = field(default_factory=threading.Lock, init=False)
    _last_began: float = field(default=0.0, init=False)

    def collect(self) -> None:
        """Take a sample and merge it. Raises Unavailable; then nothing was changed.

        Requests that come while one is taken share the next: it begins after all of them, so it has all their bytes.
        """
        asked = time.monotonic()
        with self._sampling:
            if self._last_began > asked:
                return
            began = time.monotonic()
            at = self.clock.now()
            samples = self.node.sample()
            with self.store.write() as transaction:
                transaction.ledger.merge(samples, at)
            self._last_began = began

    def of(self, key: Key) -> Traffic:
        """What a key has used, sampled now. Raises Unavailable."""
        self.collect()
        return self.store.traffic(key.uuid)

    def reset(self, key: Key) -> None:
        """Let a key's total start again from zero: sample and reset in one transaction. Raises Unavailable."""
        at = self.clock.now()
        samples = self.node.sample()
        with self.store.write() as transaction:
            transaction.ledger.merge(samples, at)
            transaction.ledger.reset(key.uuid)

    def close_epoch(self, last: Samples) -> None:
        """Merge the last sample of an Xray that is about to be ended, and note that nothing is missing from it."""
        at = self.clock.now()
        with self.store.write() as transaction:
            transaction.ledger.merge(last, at)
            transaction.ledger.end_epoch(last.epoch, at)

    def start(self, every_s: float) -> None:
        """Begin sampling in the background, every so often; 0 is never."""
        if every_s > 0:
            threading.Thread(target=self._sample_for_ever, args=(every_s,), name="sampler", daemon=True).start()

    def _sample_for_ever(self, every_s: float) -> None:
        silent = False
        while True:
            time.sleep(every_s)
            try:
                self.collect()
            except Unavailable as error:
                if not silent:  # once, not every ten seconds
                    _log.warning("traffic could not be sampled: %s", error)
                silent = True
            else:
                silent = False
