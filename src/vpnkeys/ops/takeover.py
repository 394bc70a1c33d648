"""A server takes over an Xray that runs already: left in peace when it runs with what is wanted, else restarted."""

import logging
from contextlib import suppress
from dataclasses import dataclass, field

from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.traffic import TrafficService
from vpnkeys.xray.config.file import base_digest, read_document
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process.child import epoch_of
from vpnkeys.xray.process.launch import last_start

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Takeover:
    """What is done when an Xray is seen that somebody else started, be it old or new."""

    node: LocalNode
    reconciler: Reconciler
    traffic: TrafficService
    _has_restarted: bool = field(default=False, init=False)

    def xray_is_up(self, pid: int) -> None:
        """Let it have the keys that are wanted; if it runs with another base, only after a restart.

        Which is done once: an Xray that nobody notes the start of would be restarted for ever.
        """
        why = self._obstacle(pid)
        if why and self._has_restarted:
            _log.error("%s, also after a restart: have it started by `vpnkeys xray run`", why)
        elif why:
            self._has_restarted = True
            self._restart(why)
        self.reconciler.repair_soon()

    def _obstacle(self, pid: int) -> str:
        """What only a restart would put right, or nothing."""
        file = self.node.file
        start = last_start(self.node.api_socket.parent)
        try:
            document = read_document(file.path)
            if document is None:
                return ""  # is written anew, and the next life has it
            if start is None or start.epoch != epoch_of(pid):
                return "it is not known what Xray was started with"
        except OSError:
            return ""  # gone meanwhile, or nothing that a restart would help
        if start.base == base_digest(document, file.base.pool):
            return ""
        return "Xray was started with other settings than config.json has now"

    def _restart(self, why: str) -> None:
        """With no byte lost, as when somebody asks for it."""
        _log.warning("%s; it is restarted, which ends open connections", why)
        try:
            with self.reconciler.changing, self.traffic.held(), self.reconciler.or_repair():
                with suppress(XrayUnavailable):
                    self.traffic.close_epoch(self.node.quiesce())
                self.node.restart()
        except Unavailable as error:
            _log.warning("Xray was not restarted in order: %s", error)
