"""Reports whether the server works, without anything secret."""

import time
from dataclasses import dataclass, field
from typing import Literal

from vpnkeys.domain.errors import Unavailable
from vpnkeys.interfaces import Node, Store

Status = Literal["healthy", "degraded", "unhealthy"]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Holds what `/health` answers. It is readable without authentication, so nothing in it is secret.

    Unhealthy: the API cannot do its work. Degraded: something is missing that customers may notice.
    """

    status: Status
    xray: Literal["running", "down"]
    database: Literal["ok", "down"]
    connection_cut: Literal["available", "unavailable"]
    udp_full_cone: Literal["available", "unavailable"]
    server_names_ready: int
    uptime_s: int


@dataclass(frozen=True, slots=True)
class Health:
    """Checks database and Xray each time a report is asked for.

    `can_cut` says whether open connections of removed keys can be ended; `full_cone` whether the kernel filters each
    packet of customers, so that one UDP session may reach many peers. Without it UDP works with one peer a session,
    so that its absence alone does not make the status `degraded`.
    """

    node: Node
    store: Store
    can_cut: bool
    full_cone: bool
    _since: float = field(default_factory=time.monotonic)

    def report(self) -> HealthReport:
        """Return the state at this moment."""
        database, xray = self._database_answers(), self.node.is_up()
        names = len(self.node.ready_names())
        # Without a ready server name existing keys work, but no new one can be made.
        all_well = xray and names and self.can_cut
        return HealthReport(
            status="unhealthy" if not database else "healthy" if all_well else "degraded",
            xray="running" if xray else "down",
            database="ok" if database else "down",
            connection_cut="available" if self.can_cut else "unavailable",
            udp_full_cone="available" if self.full_cone else "unavailable",
            server_names_ready=names,
            uptime_s=int(time.monotonic() - self._since),
        )

    def _database_answers(self) -> bool:
        try:
            # Quick enough for a monitor: on SQLite nothing is read unless there was a commit.
            self.store.keys()
        except Unavailable:
            return False
        return True
