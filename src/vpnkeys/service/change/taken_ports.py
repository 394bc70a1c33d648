"""Keeps which keys cannot start because another program listens on their ports."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.nodes.door import is_door
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.interfaces import Host
from vpnkeys.service.change.storage import PendingStops

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class TakenPorts:
    """The ports of keys on which another program listened at the last comparison, and those of another server.

    On those `beside` Xray listens too, and the other program gets a part of the connections (SO_REUSEPORT).
    """

    host: Host
    stops: PendingStops
    ports: frozenset[int] = field(default=frozenset(), init=False)
    shared: frozenset[int] = field(default=frozenset(), init=False)
    beside: frozenset[int] = field(default=frozenset(), init=False)

    @property
    def all(self) -> frozenset[int]:
        """Return all ports that are not Xray's alone."""
        return self.ports | self.shared | self.beside

    def hold(self) -> None:
        """Claim the ports of all keys among the servers of this host, and note those that another server has too.

        Raises StoreUnavailable.
        """
        keys, pending = self.stops.last_keys(), self.stops.unconfirmed()
        doors = {door.port for door in self.stops.store.doors()}
        shared = self.host.hold_ports({key.port for key in keys} | {stop.port for stop in pending} | doors)
        if shared - self.shared:
            _log.error(
                "another vpnkeys server on this host has these ports for keys of its own: %s; give the servers ranges "
                "of their own (VPNKEYS_PORT_RANGE), and move the keys (vpnkeys keys set ID --port 0)",
                ", ".join(map(str, sorted(shared))),
            )
        self.shared = shared

    def release(self, left: frozenset[int]) -> None:
        """Let other servers of the host have these ports, which no key has any more."""
        self.host.release_ports(left)
        self.ports -= left
        self.shared -= left
        self.beside -= left

    def leave_out(self, todo: Plan, observed: Observed) -> Plan:
        """Return the plan without inbounds that cannot listen now, and note their ports.

        So all else is repaired, and nothing fails for ever; a repair adds them when their ports are free.
        """
        left = self.without_taken(todo, observed)
        if observed.running is not None:  # else nothing is added, and what was noted may still be so
            self._note(inbound for inbound in todo.add if inbound not in left.add)
        return left

    def without_taken(self, todo: Plan, observed: Observed) -> Plan:
        """Return the plan without inbounds that cannot listen now."""
        # An inbound that is replaced has its port already: it is Xray's own.
        own = set() if observed.running is None else {one.port for one in observed.running.inbounds.values()}
        return replace(todo, add=tuple(one for one in todo.add if one.port in own or self.host.can_listen(one)))

    def spare(self, todo: Plan) -> Plan:
        """Return the plan without the ports on which another program listens: their connections are not ours.

        A door that cannot listen keeps no key back, whose own port is another.
        """
        return replace(
            todo,
            cut=tuple(port for port in todo.cut if port not in self.ports),
            add=tuple(one for one in todo.add if one.port not in self.ports or not is_door(one.tag)),
            cut_users=tuple(one for one in todo.cut_users if one[0] not in self.ports),
        )

    def note_beside(self, ports: frozenset[int]) -> None:
        """Note on which ports another program listens beside Xray, with a line in the log for each new one."""
        for port in sorted(ports - self.beside):
            _log.error(
                "another program listens on port %d beside Xray and gets a part of its customers' connections: stop "
                "that program (`ss -ltnp sport = :%d` names it), or move the key (vpnkeys keys set ID --port 0)",
                port,
                port,
            )
        self.beside = ports

    def have_started(self, inbounds: Iterable[Inbound]) -> None:
        """Note that Xray listens for these inbounds now."""
        self.ports -= {inbound.port for inbound in inbounds if inbound.port is not None}

    def _note(self, inbounds: Iterable[Inbound]) -> None:
        """Note what cannot listen, with a line in the log for each port that is taken or free since the last time."""
        tags = {inbound.port: inbound.tag for inbound in inbounds if inbound.port is not None}
        for port in sorted(tags.keys() - self.ports):
            _log.error(
                "port %d of %s is taken by another program, so that its customers do not get in: stop that program, or "
                "%s",
                port,
                tags[port],
                "close the door" if is_door(tags[port]) else "move the key (vpnkeys keys set ID --port 0)",
            )
        for port in sorted(self.ports - tags.keys()):
            _log.info("port %d is not taken by another program any more, or no key has it", port)
        self.ports = frozenset(tags)
