"""A new server adopts an Xray that runs already: it restarts Xray only when its base configuration is outdated."""

import logging
from contextlib import suppress
from dataclasses import dataclass, field

from vpnkeys.domain.errors import Unavailable
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.traffic import TrafficService
from vpnkeys.xray.config.file import base_digest
from vpnkeys.xray.config.reading import read_document
from vpnkeys.xray.host.processes import epoch_of
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process.launch import last_start

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class XrayAdopter:
    """Adopts an Xray that a supervisor started, at the server's start and after each restart of Xray."""

    node: LocalNode
    reconciler: Reconciler
    traffic: TrafficService
    _has_restarted: bool = field(default=False, init=False)

    def adopt(self, pid: int) -> None:
        """Schedule a repair that gives this Xray its keys; restart it first when its base configuration is outdated.

        It restarts Xray once at most: one whose start is never recorded would be restarted for ever.
        """
        why = self._obstacle(pid)
        if why and self._has_restarted:
            _log.error("%s, even after a restart; let its supervisor start it with `vpnkeys xray run`", why)
        elif why:
            self._has_restarted = True
            self._restart(why)
        self.reconciler.repair_soon()

    def _obstacle(self, pid: int) -> str:
        """Return the reason why Xray needs a restart, or ""."""
        file = self.node.file
        start = last_start(self.node.api_socket.parent)
        try:
            document = read_document(file.path)
            if document is None:
                return ""  # the repair writes the file, and the next start of Xray reads it
            # An older record is about an earlier run of Xray.
            if start is None or start.epoch != epoch_of(pid):
                return "the configuration that Xray was started with is unknown"
        except OSError:
            return ""  # Xray has ended meanwhile, or a restart would not help
        # With the operator's sections this Xray would not have stayed up, so a restart would only cut customers off.
        if start.is_bare or start.base == base_digest(document):
            return ""
        return "Xray was started with a configuration that differs from config.json"

    def _restart(self, why: str) -> None:
        """Restart Xray after a final sample, so that no byte is lost."""
        _log.warning("%s; restarting Xray, which ends open connections", why)
        self.reconciler.expect_drift()
        try:
            with self.reconciler.changing, self.traffic.held():
                with suppress(Unavailable):  # what a full disk does not take is kept, and stored later
                    self.traffic.close_epoch(self.node.quiesce())
                self.node.restart()
        except Unavailable as error:
            _log.warning("restarting Xray failed: %s", error)
