"""The repairs that somebody can ask for. Each changes nothing when it cannot be done as a whole."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import XrayRefused, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.target import TargetReport
from vpnkeys.service.audited import audited
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.keys import lowest_free
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import Reporter, ShortIdMismatch
from vpnkeys.service.traffic import TrafficService

_log = logging.getLogger(__name__)

_WARM_TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class Move:
    """A key that got another port."""

    key: Key
    old_port: int


@dataclass(frozen=True, slots=True)
class SystemService:
    """The use cases about the system as a whole."""

    changer: KeyChanger
    reporter: Reporter
    traffic: TrafficService
    pool: PortRange
    reload_key_pair: Callable[[], None]

    @property
    def reconciler(self) -> Reconciler:
        """Where keys, config.json and Xray are brought together."""
        return self.changer.reconciler

    def sync(self) -> Plan:
        """Bring config.json and the running Xray to the database without a restart; what was done.

        Raises Unavailable when Xray does not answer or the file cannot be written; then nothing was changed.
        """
        reconciler = self.reconciler
        with audited(reconciler.store, "system.config_synced") as facts, reconciler.changing:
            observed, todo = reconciler.compare()
            _require_running(observed)
            reconciler.tell_of_drift(todo)
            reconciler.apply(todo)
            facts |= {"file_rewritten": todo.file is not None, "removed": len(todo.remove), "added": len(todo.add)}
            return todo

    def sync_and_restart(self) -> tuple[ShortIdMismatch, ...]:
        """The same, and restart Xray, with no byte lost; the short ids that were wrong in config.json.

        Returns when clients get through again. Raises Unavailable.
        """
        reconciler = self.reconciler
        with audited(reconciler.store, "system.xray_restarted") as facts, reconciler.changing:
            wrong = self.reporter.sync().short_id_mismatches
            names = reconciler.node.ready_names(wait_s=_WARM_TIMEOUT_S)
            reconciler.tell_of_drift(reconciler.compare()[1])
            with self.traffic.held():
                self._restart()
            reconciler.reconcile()
            facts["short_ids_fixed"] = len(wrong)
        self._wait_for_clients(names)
        return wrong

    def fix_reality_keys(self) -> None:
        """Put the stored key pair back into config.json and restart Xray. Raises Unavailable."""
        with audited(self.reconciler.store, "system.reality_keys_fixed"):
            self.reload_key_pair()
            self.sync_and_restart()

    def verify_reality(self) -> tuple[Plan, tuple[TargetReport, ...]]:
        """Compare REALITY settings with the database, repair what differs, and look at every target."""
        return self.sync(), self.reconciler.node.look_at_targets()

    def reset_ports(self) -> tuple[Move, ...]:
        """Hand out all ports again, from the bottom of the range in order of creation; the keys that moved.

        A key whose port did not change keeps its connections. Raises PortsExhausted, Unavailable.
        """
        with self.reconciler.changing:
            _require_running(self.reconciler.node.observe())
            with suppress(XrayRefused):  # a port that another program took is left below
                self.reconciler.reconcile()
            before = {key.id: key.port for key in self.reconciler.stops.keys()}  # noqa: SIM118 - not a dict
            moved = self.changer.change(lambda seen: KeyChanges(update=self._moved(seen))).update
        _log.info("ports handed out again: %d of %d keys moved", len(moved), len(before))
        return tuple(Move(key, before[key.id]) for key in moved)

    def planned_moves(self) -> tuple[Move, ...]:
        """What `reset_ports` would do now. Raises PortsExhausted."""
        seen = self.changer.snapshot()
        before = {key.id: key.port for key in seen.keys}
        return tuple(Move(key, before[key.id]) for key in self._moved(seen))

    def _moved(self, seen: Snapshot) -> tuple[Key, ...]:
        """The keys that get another port when all are handed out again.

        A port on which Xray listens for a key now will be free by then; that of a pending stop may not.
        """
        running = self.reconciler.node.observe().running
        ours = {key.port for key in seen.keys if key.serves and (running is None or key.tag in running.inbounds)}
        taken, moved = set(seen.taken_ports.difference(key.port for key in seen.keys)), []
        for key in seen.keys:
            port = lowest_free(self.pool, taken, lambda port: port in ours or seen.is_free(port))
            taken.add(port)
            if port != key.port:
                moved.append(replace(key, port=port, port_assigned_at=seen.now))
        return tuple(moved)

    def _restart(self) -> None:
        """File first, and tested: when Xray could not come back, it is not ended."""
        reconciler = self.reconciler
        desired = reconciler.desired(reconciler.stops.keys())
        reconciler.host.check(desired)
        reconciler.apply(Plan(file=desired))
        # A hanging Xray gives no last sample; restarting it is the remedy, and the gap is noted.
        reconciler.expect_drift()
        reconciler.repair_soon()  # however it ends
        with suppress(XrayUnavailable):
            self.traffic.close_epoch(reconciler.host.quiesce())
        reconciler.host.restart()

    def _wait_for_clients(self, names: frozenset[str]) -> None:
        """Until the server names that worked before work again: Xray has to probe their targets anew."""
        deadline = time.monotonic() + _WARM_TIMEOUT_S
        while not names <= self.reconciler.node.ready_names() and time.monotonic() < deadline:
            time.sleep(0.02)


def _require_running(observed: Observed) -> None:
    if observed.running is None:
        msg = "Xray does not answer on its API, so nothing was changed; if it ended it is being restarted. Try again."
        raise XrayUnavailable(msg)
