"""Runs a node: follows what its control plane wants, and reports what the node has."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from random import SystemRandom
from typing import Final

from vpnkeys import __version__
from vpnkeys.agent.following import Applied, Follower
from vpnkeys.agent.membership import MOST_TOKENS, DesiredFile, Kept
from vpnkeys.agent.reporting import Stored, began_here
from vpnkeys.bootstrap import Server
from vpnkeys.client import ApiError, Unauthorized
from vpnkeys.client.agent import ControlPlane
from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.wire.agents import LEVEL, MOST_KEYS, Desired, Report
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)
_chance = SystemRandom()

_REPORT_EVERY_S: Final = 10.0
_AGAIN_AFTER_S: Final = 0.2
_CLOCKS_DIFFER_S: Final = 5.0
_NO_TICKET: Final = "none"
"""What an agent says that has heard of no ticket yet."""


def _back_off() -> tuple[float, ...]:
    """Return waits that double, each drawn anew for this agent: a thousand of them must not come back at once."""
    return tuple(_chance.uniform(most / 3, most) for most in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0))


class AgentTooOld(Exception):
    """Says that the control plane wants what this version cannot do."""

    def __init__(self) -> None:
        super().__init__(
            "The control plane wants what this version cannot do: upgrade vpnkeys on this node. It keeps what it has."
        )


@dataclass(slots=True)
class Agent:
    """Joins a server that has no API to its control plane. Without that, all goes on as it was last wanted."""

    server: Server
    plane: ControlPlane
    desired: DesiredFile
    tokens: tuple[str, ...]
    """The agent's own, newest first; see `Membership`."""
    keep_tokens: Callable[[tuple[str, ...]], None]
    """Writes them to its disk. Raises OSError."""
    applied: Applied = field(default_factory=Applied, init=False)
    following: Worker = field(init=False)
    reporting: Worker = field(init=False)
    _kept: Kept | None = field(default=None, init=False)
    _is_stored: bool = field(default=True, init=False)
    _stored: Stored = field(default_factory=Stored, init=False)
    _told: tuple[str, str] = field(default=("", _NO_TICKET), init=False)
    """What the node should have when a control plane said so last, and the ticket with it."""

    def __post_init__(self) -> None:
        """Make the workers; nothing is asked before they start."""
        follow = Job(
            name="follow",
            failing="the control plane could not be followed; all goes on as it was last wanted",
            every_s=0.0,
            back_off_s=_back_off(),
            back_offs_s={Unavailable: (_AGAIN_AFTER_S, 1.0, 5.0)},
            late_after_s=120.0,
            expected=(AgentTooOld, ApiError, Unavailable, OSError),
            stop_within_s=0.5,
        )
        report = Job(
            name="report",
            failing="the control plane did not take a report; what it lacks is said again",
            every_s=_REPORT_EVERY_S,
            back_off_s=_back_off(),
            late_after_s=120.0,
            expected=(ApiError, Unavailable, OSError),
            stop_within_s=2.0,
        )
        self.following = Worker(follow, self.follow)
        self.reporting = Worker(report, self.report)

    def start(self) -> None:
        """Start the node as it was last wanted, and then follow the control plane."""
        self._kept = self.desired.read()
        self.server.clock.ahead = timedelta(seconds=0 if self._kept is None else self._kept.ahead_s)
        self.server.start()
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

        News are asked for also while something cannot be applied: it may be what ends that, or a stop. Raises
        AgentTooOld, ApiError, Unavailable, OSError.
        """
        failed = self._apply()
        try:
            with self._known():
                wanted = self.plane.desired(self.applied.rev, _ticket_of(self._told, self.applied))
        except ApiError:
            if failed is not None:
                raise failed from None
            raise
        # Not each time that there is nothing new: a thousand agents would report twice. After a failure it may wait for
        # long, and the control plane answers.
        if wanted is not None or _is_failing(self.reporting):
            self.reporting.wake()
        if wanted is not None and not self.following.is_stopping:
            if wanted.needs > LEVEL:
                raise AgentTooOld
            self._told = wanted.rev, wanted.ticket
            self._compare_clocks(wanted.now)
            if self._kept is None or wanted.rev != self._kept.rev:
                self._keep(wanted)
                failed = self._store() or failed
        if failed is not None:
            raise failed
        return None

    def _apply(self) -> Unavailable | OSError | None:
        """Bring the node to what was kept, where it is not there; return what has kept it from that.

        What is not on the disk is applied all the same, so that a full disk delays no stop; it is not confirmed. Keys
        that have failed are tried again each time.
        """
        if self._kept is not None and self._kept.ahead_s != self.server.clock.ahead.total_seconds():
            self._keep(self._kept)
        kept = self._kept
        if kept is None or (kept.rev == self.applied.rev and not self.applied.failed):
            return self._store()
        follower = Follower(self.server.keys, self.server.traffic.usage.forget)
        try:
            if kept.rev == self.applied.rev:
                applied = follower.retry(kept, self.applied)
            else:
                self.applied = Applied()  # a report that is made meanwhile must not say that the node has what it had
                applied = follower.apply(kept)
        except (Unavailable, OSError) as error:
            return error
        # Before it is confirmed: a key that has left for another node is finished here by that.
        with suppress(XrayUnavailable):  # one that has ended has no counters
            self.server.traffic.collect()
        if failed := self._store():
            return failed
        if applied != self.applied:
            self.applied = applied
            _log.info("the node has what it should: %d keys, %d failed", len(kept.keys), len(applied.failed))
            self.reporting.wake()
        return None

    def _keep(self, wanted: Desired) -> None:
        self._kept = Kept.model_construct(**{**vars(wanted), "ahead_s": int(self.server.clock.ahead.total_seconds())})
        self._is_stored = False

    def _compare_clocks(self, there: datetime | None) -> None:
        """Note how far this node's clock is ahead of the control plane's; small differences are the way's."""
        if there is not None:
            ahead_s = (self.server.clock.host_time() - there).total_seconds()
            if abs(ahead_s - self.server.clock.ahead.total_seconds()) > _CLOCKS_DIFFER_S:
                ahead_s = 0 if abs(ahead_s) <= _CLOCKS_DIFFER_S else round(ahead_s)
                self.server.clock.ahead = timedelta(seconds=ahead_s)
                _log.info("this clock is %d s ahead of the control plane's, by which this node counts", ahead_s)

    def _store(self) -> OSError | None:
        """Put what was kept on the disk, if it is not there; return what has kept it from that."""
        if self._kept is not None and not self._is_stored:
            try:
                self.desired.write(self._kept)
            except OSError as error:
                return error
            self._is_stored = True
        return None

    def report(self) -> float | None:
        """Report what the node has, and take another token when it is time. Raises ApiError, Unavailable, OSError."""
        report, is_old, token_is_old = self._report(), False, False
        # As `now`, by the host's clock: the control plane sees from that how wrong it is.
        lives = (life._replace(at=life.at + self.server.clock.ahead) for life in self.server.reconciler.store.lives())
        parts = tuple(self._stored.news_in(tuple(lives)))
        for number, part in enumerate(parts, 1):
            # What the node has is confirmed by the last part: a key that has left it is finished by that.
            rev = report.rev if number == len(parts) else ""
            with self._known():
                received = self.plane.report(report.model_copy(update={"lives": part, "rev": rev}))
            token_is_old = received.token_is_old
            self._stored.note(part)
            is_old = received.rev == report.rev and received.ticket not in {"", report.ticket}
            self._told = received.rev, received.ticket
            self._compare_clocks(received.now)
        if _is_failing(self.following):
            # The control plane answers, and takes this node for one that follows from now on.
            self.following.wake(at_once=True)
        if token_is_old:
            self.renew_token()
            return _AGAIN_AFTER_S  # the control plane knows by a report with the new one that it is kept
        # One that was made before the present ticket confirms nothing that is wanted now.
        return 0.0 if is_old else _chance.uniform(_REPORT_EVERY_S * 0.7, _REPORT_EVERY_S)

    def renew_token(self) -> None:
        """Take another token. It is on the disk before it is used, and the present one works until then.

        Raises ApiError, OSError.
        """
        used = self.plane.token
        with self._known():
            token = self.plane.new_token()
        tokens = (token, used, *(one for one in self.tokens if one != used))[:MOST_TOKENS]
        self.keep_tokens(tokens)
        self.tokens, self.plane.token = tokens, token
        _log.info("the agent has a new token")

    @contextmanager
    def _known(self) -> Iterator[None]:
        """Let the next request have another token of this agent's when the control plane does not know this one.

        So it is after a backup from before the last renewal was restored there. It may lack counters too that it had
        stored: all are said again.
        """
        used = self.plane.token
        try:
            yield
        except Unauthorized:
            # The other worker may have gone on to the next by now.
            if self.plane.token == used:
                self.plane.token = _after(used, self.tokens)
                self._stored = Stored()
            raise

    def _report(self) -> Report:
        """Return what a report says beside counters."""
        # In this order: so the node had what it says at some moment after the ticket, however long the rest takes.
        told = self._told
        applied, keys, online = self.applied, self.server.keys, dict[str, int]()
        began = began_here(() if self._kept is None else self._kept.keys, keys.list())
        with suppress(Unavailable):
            online = self.server.traffic.online_by_key(keys.list())
        return Report(
            rev=applied.rev,
            failed=dict(islice(applied.failed.items(), MOST_KEYS)),
            now=self.server.clock.host_time(),
            names=tuple(sorted(self.server.node.ready_names())),
            online=dict(islice(((account, devices) for account, devices in online.items() if devices), MOST_KEYS)),
            cpu_share=self.server.overview.cpu_share,
            version=__version__,
            xray_version=self.server.xray_version,
            ticket=_ticket_of(told, applied),
            began={account: at + self.server.clock.ahead for account, at in began.items()},
        )


def _ticket_of(told: tuple[str, str], applied: Applied) -> str:
    """Return the newest ticket with which the node was told to have what it has."""
    rev, ticket = told
    return (ticket if rev == applied.rev else applied.ticket) or _NO_TICKET


def _after(token: str, tokens: tuple[str, ...]) -> str:
    """Return the token that is tried after this one; the first again after the last."""
    return tokens[(tokens.index(token) + 1) % len(tokens)] if token in tokens else tokens[0]


def _is_failing(worker: Worker) -> bool:
    """Return whether a worker has failed, and not succeeded since."""
    status = worker.status()
    return status is not None and status.failing_for_s is not None
