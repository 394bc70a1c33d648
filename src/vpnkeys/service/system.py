"""The repairs that somebody can ask for. Each changes nothing when it cannot be done as a whole."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.plan import Observed, Plan, plan
from vpnkeys.domain.portpool import PortRange, lowest_free
from vpnkeys.domain.target import TargetReport
from vpnkeys.interfaces import Clock
from vpnkeys.service.audited import audited
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

    reconciler: Reconciler
    reporter: Reporter
    traffic: TrafficService
    clock: Clock
    pool: PortRange
    reload_key_pair: Callable[[], None]

    def sync(self) -> Plan:
        """Bring config.json and the running Xray to the database without a restart; what was done.

        Raises Unavailable when Xray does not answer or the file cannot be written; then nothing was changed.
        """
        reconciler = self.reconciler
        with audited(reconciler.store, "system.config_synced") as facts, reconciler.changing:
            observed, todo = reconciler.compare()
            _require_running(observed)
            reconciler.tell_of_drift(todo)
            reconciler.node.apply(todo)
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
        reconciler = self.reconciler
        with reconciler.changing, reconciler.or_repair(), reconciler.store.write() as transaction:
            keys = transaction.keys()
            observed = reconciler.node.observe()
            _require_running(observed)
            moves = self._moves(keys)
            transaction.move({move.key.id: move.key.port for move in moves}, self.clock.now())
            reconciler.follow_speeds(keys, transaction.keys())
            reconciler.node.apply(plan(reconciler.desired(transaction.keys()), observed))
        _log.info("ports handed out again: %d of %d keys moved", len(moves), len(keys))
        return moves

    def planned_moves(self) -> tuple[Move, ...]:
        """What `reset_ports` would do now. Raises PortsExhausted."""
        return self._moves(self.reconciler.store.keys())

    def _moves(self, keys: tuple[Key, ...]) -> tuple[Move, ...]:
        ports = self._ports_in_order(keys)
        return tuple(Move(replace(key, port=ports[key.id]), key.port) for key in keys if ports[key.id] != key.port)

    def _ports_in_order(self, keys: tuple[Key, ...]) -> dict[str, int]:
        """The port of each key, by id. A port that one of our keys has now will be free by then."""
        held = {key.port for key in keys if key.status is Status.ACTIVE}
        ports: dict[str, int] = {}
        for key in keys:
            ports[key.id] = lowest_free(
                self.pool, ports.values(), lambda port: port in held or self.reconciler.node.is_free(port)
            )
        return ports

    def _restart(self) -> None:
        """File first, and tested: when Xray could not come back, it is not ended."""
        reconciler = self.reconciler
        desired = reconciler.desired(reconciler.store.keys())
        reconciler.node.check(desired)
        reconciler.node.apply(Plan(file=desired))
        # A hanging Xray gives no last sample; restarting it is the remedy, and the gap is noted.
        with suppress(XrayUnavailable), reconciler.or_repair():
            self.traffic.close_epoch(reconciler.node.quiesce())
        with reconciler.or_repair():
            reconciler.node.restart()

    def _wait_for_clients(self, names: frozenset[str]) -> None:
        """Until the server names that worked before work again: Xray has to probe their targets anew."""
        deadline = time.monotonic() + _WARM_TIMEOUT_S
        while not names <= self.reconciler.node.ready_names() and time.monotonic() < deadline:
            time.sleep(0.02)


def _require_running(observed: Observed) -> None:
    if observed.running is None:
        msg = "Xray does not answer on its API, so nothing was changed; if it ended it is being restarted. Try again."
        raise XrayUnavailable(msg)
