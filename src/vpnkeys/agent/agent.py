"""Runs a node: follows what its control plane wants, and reports what the node has."""

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final

from vpnkeys import __version__
from vpnkeys.agent.following import Applied, Follower
from vpnkeys.agent.membership import DesiredFile
from vpnkeys.agent.reporting import Stored
from vpnkeys.bootstrap import Server
from vpnkeys.client import ApiError
from vpnkeys.client.agent import ControlPlane
from vpnkeys.domain.errors import Unavailable
from vpnkeys.wire.agents import Desired, Report
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)
_chance = SystemRandom()

_REPORT_EVERY_S: Final = 10.0
_AGAIN_AFTER_S: Final = 0.2


def _back_off() -> tuple[float, ...]:
    """Return waits that double, each drawn anew for this agent: a thousand of them must not come back at once."""
    return tuple(_chance.uniform(most / 3, most) for most in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0))


@dataclass(slots=True)
class Agent:
    """Joins a server that has no API to its control plane. Without that, all goes on as it was last wanted."""

    server: Server
    plane: ControlPlane
    desired: DesiredFile
    applied: Applied = field(default_factory=Applied, init=False)
    following: Worker = field(init=False)
    reporting: Worker = field(init=False)
    _kept: Desired | None = field(default=None, init=False)
    _stored: Stored = field(default_factory=Stored, init=False)

    def __post_init__(self) -> None:
        """Make the workers; nothing is asked before they start."""
        follow = Job(
            name="follow",
            failing="the control plane could not be followed; all goes on as it was last wanted",
            every_s=0.0,
            back_off_s=_back_off(),
            back_offs_s={Unavailable: (_AGAIN_AFTER_S, 1.0, 5.0)},
            late_after_s=120.0,
            expected=(ApiError, Unavailable, OSError),
            stop_within_s=0.5,
        )
        report = Job(
            name="report",
            failing="the control plane did not take a report; what it lacks is said again",
            every_s=_REPORT_EVERY_S,
            back_off_s=_back_off(),
            late_after_s=120.0,
            expected=(ApiError, Unavailable),
            stop_within_s=2.0,
        )
        self.following = Worker(follow, self.follow)
        self.reporting = Worker(report, self.report)

    def start(self) -> None:
        """Start the node as it was last wanted, and then follow the control plane."""
        self.server.start()
        self._kept = self.desired.read()
        self.following.start()
        self.reporting.start()

    def stop(self) -> None:
        """Stop following, and stop the node; what was not reported is reported after the next start."""
        self.following.stop()
        self.reporting.stop()
        self.plane.close()
        self.server.stop()

    def follow(self) -> float | None:
        """Apply what was kept, until it is; then wait for what the node should have next, and keep it.

        Raises ApiError, Unavailable, OSError.
        """
        kept = self._kept
        if kept is not None and kept.rev != self.applied.rev:
            self.applied = Follower(self.server.keys).apply(kept)
            _log.info("the node has what it should: %d keys, %d failed", len(kept.keys), len(self.applied.failed))
            self.reporting.wake()
        wanted = self.plane.desired(self.applied.rev)
        self.reporting.wake()  # it may be waiting after a failure, and the control plane answers
        if wanted is None or self.following.is_stopping:
            return None
        self.desired.write(wanted)
        self._kept = wanted
        return None

    def report(self) -> float | None:
        """Report what the node has. Raises ApiError, Unavailable."""
        report = self._report()
        for part in self._stored.news_in(self.server.reconciler.store.lives()):
            self.plane.report(report.model_copy(update={"lives": part}))
            self._stored.note(part)
        following = self.following.status()
        if following is not None and following.failing_for_s is not None:
            # The control plane answers, and takes this node for one that follows from now on.
            self.following.wake(at_once=True)
        return _chance.uniform(_REPORT_EVERY_S * 0.7, _REPORT_EVERY_S)

    def _report(self) -> Report:
        """Return what a report says beside counters."""
        keys, online = self.server.keys, dict[str, int]()
        with suppress(Unavailable):
            online = self.server.traffic.online_by_key(keys.list())
        return Report(
            rev=self.applied.rev,
            failed=self.applied.failed,
            now=keys.clock.now(),
            names=tuple(sorted(self.server.node.ready_names())),
            online={account: devices for account, devices in online.items() if devices},
            version=__version__,
            xray_version=self.server.xray_version,
        )
