"""Declares the protocols of an Xray, wherever it runs, and of its host (docs/adr/0003-node-verbs.md)."""

from collections.abc import Collection, Mapping
from typing import Protocol

from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.traffic import Carried, Samples
from vpnkeys.domain.trial import Trial


class Counters(Protocol):
    """Gives the traffic counters of one Xray."""

    # Xray has counters of all users since its start; it keeps those of deleted keys too.
    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """Return the cumulative counters of these users (None: of all), never reset. Raises XrayUnavailable."""
        ...


class Node(Protocol):
    """Controls one Xray and its config.json, on this host or on another."""

    def observe(self) -> Observed:
        """Return what config.json and the running Xray hold now; the latter is None while Xray does not answer."""
        ...

    # Xray may fail halfway: it adds inbounds one by one, and refuses to remove an unknown tag. So what to do next is
    # planned from what `observe` sees then, and no plan is simply tried again.
    def apply(self, plan: Plan) -> None:
        """Carry a plan out; safe to repeat after `observe`.

        Raises ConfigUnwritable or ConfigRefused when the file is as before, with what was added to Xray meanwhile taken
        back as far as Xray answers; XrayUnavailable or XrayRefused when the running Xray did not follow, PortTaken when
        the only reason is that another program has a port.
        """
        ...

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """Return what `Counters.sample` does."""
        ...

    def carried(self) -> Carried | None:
        """Return how many bytes Xray has carried for all since its start; None if it does not count them.

        It costs the same with any number of keys, and tells whether a sample would find anything new. Raises
        XrayUnavailable.
        """
        ...

    # Xray's own view, because a socket to the port alone may be a probe. It never reports 127.0.0.1 and ::1.
    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the sources (`domain.limits.source`) from which customers are online now, by key UUID.

        They are in the order of their newest connections. Raises XrayUnavailable.
        """
        ...

    # A frozen Xray still takes connections, so that this does not prove that it answers calls.
    def is_up(self) -> bool:
        """Return whether the running Xray takes connections on its API."""
        ...

    def epoch(self) -> str:
        """Return the epoch of the Xray that takes connections on its API, frozen or not. Raises XrayUnavailable."""
        ...

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """Return the names for new keys: a test client got in with each at its latest test, and its target is usable.

        Waits up to `wait_s` seconds for the first one.
        """
        ...

    # A target may die between two tests, and a key made meanwhile would have a dead link.
    def working_names(self, most: int, wait_s: float, but: str = "") -> frozenset[str]:
        """Return up to `most` ready names, chosen at random and without `but`, whose targets answer at this moment.

        Waits up to `wait_s` seconds for the first one; a name that fails is not ready until a client gets through it.
        """
        ...

    # A target that REALITY cannot use keeps out all clients of its name.
    def problem_of_name(self, server_name: str) -> str:
        """Return why no client gets in by this name now; empty when clients do, or when nothing is known of it."""
        ...

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """Return a report on each target: of the last check, which runs every minute, and of the test client."""
        ...

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """Check the targets of all server names now, and return a report each."""
        ...

    def try_link(self, key: Key) -> Trial:
        """Test a key with a real client through its own port, within ten seconds; leave nothing of the test behind."""
        ...


class Host(Protocol):
    """Does what needs the kernel, the disk or the process of the host on which a node's Xray runs."""

    def check(self, desired: tuple[Inbound, ...]) -> None:
        """Let Xray itself test a config.json with these inbounds; nothing is written. Raises what `apply` raises."""
        ...

    def quiesce(self) -> Samples:
        """End all customers' connections, let no new ones in, and return the last counters. Raises XrayUnavailable.

        Call `restart` right after it: bytes that pass after the counters were read are not counted.
        """
        ...

    # A restart costs every customer a reconnect and new probes of the targets, so no change of keys needs one.
    def restart(self) -> None:
        """End the running Xray and return when a new one answers. Raises XrayUnavailable when none does in time."""
        ...

    def is_outdated(self) -> bool:
        """Return whether config.json has sections that only a restart of the running Xray would apply."""
        ...

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Limit these ports to so many Mbit/s each way, and all other ports no more. Raises SpeedLimitImpossible."""
        ...

    # Xray ends no connection when an inbound or a user is removed, so the host's kernel has to.
    def cut_device(self, port: int, source: str) -> None:
        """End the open connections from this source to this port."""
        ...

    def silent_for(self, port: int) -> Mapping[str, float]:
        """Return for how many seconds no packet came from each source that has connections to this port open.

        A source that is left out is not known to be silent.
        """
        ...

    def is_free(self, port: int) -> bool:
        """Return whether nothing listens on this TCP port, and neither the operator nor another server has it."""
        ...

    # Listening is not enough: the port of a key that is switched off belongs to it too.
    def claim_ports(self, wanted: Collection[int]) -> frozenset[int]:
        """Claim these ports too among all servers of the host; return those that another server has."""
        ...

    def release_ports(self, left: Collection[int]) -> None:
        """Let other servers of the host have these ports."""
        ...

    def hold_ports(self, wanted: Collection[int]) -> frozenset[int]:
        """Claim exactly these ports, and release all others; return those that another server has."""
        ...

    def can_listen(self, inbound: Inbound) -> bool:
        """Return whether no other program keeps Xray from listening for an inbound that it does not have yet."""
        ...

    def check_file(self) -> None:
        """Let Xray itself test config.json as it is. Raises ConfigRefused."""
        ...
