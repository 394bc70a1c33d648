"""Implements the repairs that the API offers."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import StoreUnavailable, XrayRefused, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.target import TargetUse, uses
from vpnkeys.service.audited import audited
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.keys import lowest_free
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import Reporter, ShortIdMismatch
from vpnkeys.service.restarts import Restarts
from vpnkeys.service.traffic import TrafficService

_log = logging.getLogger(__name__)

_WARM_TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class Move:
    """Holds a key with its new port, and the port that it had."""

    key: Key
    old_port: int


@dataclass(frozen=True, slots=True)
class XraySync:
    """Holds the short ids that were wrong in config.json, and whether Xray was restarted for this request."""

    short_ids: tuple[ShortIdMismatch, ...]
    is_restarted: bool


@dataclass(frozen=True, slots=True)
class SystemService:
    """Implements the use cases about the system as a whole."""

    changer: KeyChanger
    reporter: Reporter
    traffic: TrafficService
    pool: PortRange
    reload_key_pair: Callable[[], None]
    restarts: Restarts

    @property
    def reconciler(self) -> Reconciler:
        """Return the reconciler, which brings config.json and Xray to the keys of the database."""
        return self.changer.reconciler

    def sync(self) -> Plan:
        """Bring config.json and the running Xray to the database without a restart; return the plan carried out.

        Raises ConfigUnwritable, or XrayUnavailable when Xray does not answer, before anything was changed; XrayRefused
        or XrayUnavailable when it stopped halfway, and then a repair is due.
        """
        reconciler = self.reconciler
        with audited(reconciler.store, "system.config_synced") as facts, reconciler.changing:
            self.changer.ending.refuse_new()
            observed, todo = reconciler.compare()
            _require_running(observed)
            reconciler.announce_drift(todo)
            reconciler.apply(todo)
            facts |= {"file_rewritten": todo.file is not None, "removed": len(todo.remove), "added": len(todo.add)}
            return todo

    def sync_and_restart(self, *, may_share: bool = False) -> XraySync:
        """Bring config.json to the database and restart Xray; return what was done.

        All traffic is counted, unless Xray hangs. With `may_share`, an Xray that was restarted seconds ago, or every
        one under `only_needed`, stays when it can be brought in line without. Returns when clients can connect again,
        or after some seconds. Raises Unavailable.
        """
        reconciler = self.reconciler
        # Without the lock: it takes seconds while no name works, and keys have to stop meanwhile.
        names = reconciler.node.ready_names(wait_s=_WARM_TIMEOUT_S)
        with audited(reconciler.store, "system.xray_restarted") as facts, reconciler.changing:
            self.changer.ending.refuse_new()
            wrong = self.reporter.sync().short_id_mismatches
            is_restarted = not (may_share and self._is_in_line_without_restart())
            if is_restarted:
                reconciler.announce_drift(reconciler.compare()[1])
                # The sampler would merge counters of the new Xray before the last of the old, which ends with no gap.
                with self.traffic.held():
                    self._restart()
                reconciler.reconcile()
                self.restarts.note(reconciler.node.epoch(), names)
            facts |= {"short_ids_fixed": len(wrong), "restarted": is_restarted}
        # Without the lock: it takes seconds, and changes of keys work meanwhile.
        self._wait_for_clients(self.restarts.names)
        return XraySync(wrong, is_restarted)

    def _is_in_line_without_restart(self) -> bool:
        """Bring an Xray that may stay to the database; return whether it runs all that it should now.

        Only a restart applies other sections of config.json, and only a restart mends an Xray that hangs or refuses.
        """
        reconciler = self.reconciler
        try:
            if not self.restarts.can_share(reconciler.node.epoch()) or reconciler.host.is_outdated():
                return False
            observed, todo = reconciler.compare()
            if observed.running is None:
                return False
            reconciler.announce_drift(todo)
            reconciler.apply(todo)
        except (XrayRefused, XrayUnavailable):
            return False
        return not reconciler.compare()[1]

    def fix_reality_keys(self) -> None:
        """Put the stored key pair back into config.json and restart Xray. Raises Unavailable."""
        with audited(self.reconciler.store, "system.reality_keys_fixed"):
            self.reload_key_pair()
            self.sync_and_restart()

    def verify_reality(self) -> tuple[Plan, tuple[TargetUse, ...]]:
        """Repair what differs from the database and check every target now; return the plan and the reports."""
        done, seen = self.sync(), self.reconciler.node.look_at_targets()
        return done, uses(seen, self.reconciler.stops.own_keys())

    def reset_ports(self) -> tuple[Move, ...]:
        """Assign all ports again, from the bottom of the range in order of creation; return the keys that moved.

        A key whose port did not change keeps its connections. Raises PortsExhausted, Unavailable.
        """
        with self.reconciler.changing:
            _require_running(self.reconciler.node.observe())
            with suppress(XrayRefused):  # another program has the port of a key, which gets another one below
                self.reconciler.reconcile()
            before = {key.id: key.port for key in self.reconciler.stops.own_keys()}
            moved = self.changer.change(lambda seen: KeyChanges(update=self._moved(seen))).update
        _log.info("ports assigned again: %d of %d keys moved", len(moved), len(before))
        return tuple(Move(key, before[key.id]) for key in moved)

    def planned_moves(self) -> tuple[Move, ...]:
        """Return the moves that `reset_ports` would make now. Raises PortsExhausted."""
        seen = self.changer.snapshot()
        before = {key.id: key.port for key in seen.keys}
        return tuple(Move(key, before[key.id]) for key in self._moved(seen))

    def _moved(self, seen: Snapshot) -> tuple[Key, ...]:
        """Return the keys that get another port when all are assigned again, with their new ports.

        A port on which Xray listens for a key counts as free: the key leaves it. The port of a pending stop does not,
        because Xray may still listen there; the key of the stop stays where it is. A key leaves a port that an inbound
        of the operator's own or another server has too.
        """
        file, running = (observed := self.reconciler.node.observe()).file, observed.running
        ours = {key.port for key in seen.keys if key.serves and (running is None or key.tag in running.inbounds)}
        ours -= file.reserved.keys() | self.reconciler.taken.shared
        pending = {stop.key_id: stop.port for stop in seen.stops if not stop.is_confirmed}
        keys = [key for key in seen.keys if key.id not in pending]
        taken = {*seen.taken_ports.difference(key.port for key in keys), *pending.values()}
        leaving = replace(seen, is_free=lambda port: port in ours or seen.is_free(port))
        ports = lowest_free(self.pool, len(keys), taken, leaving)
        return tuple(
            replace(key, port=port, port_assigned_at=seen.now)
            for key, port in zip(keys, ports, strict=True)
            if port != key.port
        )

    def _restart(self) -> None:
        """Restart Xray. Its file is written and tested first: an Xray that could not start again is not ended."""
        reconciler = self.reconciler
        desired = reconciler.desired(reconciler.stops.own_keys())
        reconciler.host.check(desired)
        reconciler.apply(Plan(file=desired))
        # A hanging Xray gives no last sample. It is restarted all the same, as that is its remedy; the gap is noted. A
        # last sample that the database does not take is stored later.
        reconciler.expect_drift()
        reconciler.repair_soon()  # before the risky part: a restart that fails halfway must be repaired too
        with suppress(XrayUnavailable, StoreUnavailable):
            self.traffic.close_epoch(reconciler.host.quiesce())
        reconciler.host.restart()

    def _wait_for_clients(self, names: frozenset[str]) -> None:
        """Wait, eight seconds at most, until these server names work again: a new Xray probes their targets anew."""
        deadline = time.monotonic() + _WARM_TIMEOUT_S
        while not names <= self.reconciler.node.ready_names() and time.monotonic() < deadline:
            time.sleep(0.02)


def _require_running(observed: Observed) -> None:
    if observed.running is None:
        msg = "Xray does not answer on its API, so nothing was changed. If it ended, it is being restarted; try again."
        raise XrayUnavailable(msg)
