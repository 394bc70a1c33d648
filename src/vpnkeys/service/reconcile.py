"""Bring config.json and the running Xray to what the database says."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vpnkeys.domain.errors import NotFound, Rejected, Unavailable, XrayRefused, XrayUnavailable
from vpnkeys.domain.inbound import Inbound, Site, desired_inbounds
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan, plan
from vpnkeys.interfaces import Node, Store

_log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LAST_RETRY_S = 0.01, 1.0
_REFUSED_RETRY_S = 5.0


@dataclass(slots=True)
class Reconciler:
    """Compares, repairs, and lets one change at a time at Xray.

    `changing` is held by whoever changes the database together with Xray, so that a repair never sees one without the
    other and takes a key that is just being made for drift.
    """

    store: Store
    node: Node
    site: Site
    on_repaired: Callable[[], None] = lambda: None
    changing: threading.RLock = field(default_factory=threading.RLock, init=False)
    _wanted: threading.Event = field(default_factory=threading.Event, init=False)

    def desired(self, keys: Iterable[Key]) -> tuple[Inbound, ...]:
        """What should be for these keys."""
        return desired_inbounds(keys, self.site)

    def compare(self) -> tuple[Observed, Plan]:
        """What is, and what would have to be done; nothing is changed."""
        with self.changing:
            observed = self.node.observe()
            return observed, plan(self.desired(self.store.keys()), observed)

    def reconcile(self) -> Plan:
        """Repair whatever differs; what was done.

        Raises what `Node.apply` raises, and XrayUnavailable, with config.json repaired, while Xray does not answer.
        """
        with self.changing:
            observed, todo = self.compare()
            if todo:
                file = "rewritten" if todo.file is not None else "right"
                _log.info("drift: config.json is %s, %d inbounds go, %d come", file, len(todo.remove), len(todo.add))
                self.node.apply(todo)
            if observed.running is None:
                msg = "Xray does not answer on its API; config.json is right, and Xray is repaired when it answers."
                raise XrayUnavailable(msg)
            return todo

    @contextmanager
    def or_repair(self) -> Iterator[None]:
        """When the block fails, put file and Xray back to what the database says, now or as soon as they answer."""
        try:
            yield
        except (NotFound, Rejected):
            raise  # nothing was touched
        except BaseException:
            self.repair_soon()
            raise

    def repair_soon(self) -> None:
        """Ask for a repair in the background, repeated until it works."""
        self._wanted.set()

    def start(self) -> None:
        """Begin repairing in the background when asked."""
        threading.Thread(target=self._repair_when_asked, name="repairer", daemon=True).start()

    def _repair_when_asked(self) -> None:
        wait_s = _FIRST_RETRY_S
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self.reconcile()
            except XrayRefused as error:
                # One inbound, most likely, whose port another program took: all the rest was done and works.
                _log.warning("not all is repaired: %s", error)
                self.on_repaired()
                self._wanted.wait(_REFUSED_RETRY_S)
                self._wanted.set()
            except Unavailable as error:
                if wait_s >= _LAST_RETRY_S:  # not while Xray is just starting
                    _log.warning("not repaired yet: %s", error)
                self._wanted.set()
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, _LAST_RETRY_S)
            else:
                wait_s = _FIRST_RETRY_S
                self.on_repaired()
