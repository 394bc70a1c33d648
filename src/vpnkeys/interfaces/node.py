"""The promises of an Xray, wherever it runs, and of the host that it runs on."""

from collections.abc import Collection, Mapping
from typing import Protocol

from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.traffic import Samples
from vpnkeys.domain.trial import Trial


class Counters(Protocol):
    """The counters of one Xray."""

    def sample(self) -> Samples:
        """The cumulative counters. Never resets them. Raises XrayUnavailable."""
        ...


class Node(Protocol):
    """One Xray and its config.json, here or on another host."""

    def observe(self) -> Observed:
        """What the file and the running Xray are at this moment."""
        ...

    def apply(self, plan: Plan) -> None:
        """Carry a plan out; safe to repeat after `observe`.

        Raises ConfigUnwritable or ConfigRefused before anything was changed, XrayUnavailable or XrayRefused when the
        running Xray did not follow.
        """
        ...

    def sample(self) -> Samples:
        """The cumulative counters. Never resets them. Raises XrayUnavailable."""
        ...

    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """From which addresses customers are online now, by key UUID. Raises XrayUnavailable."""
        ...

    def is_up(self) -> bool:
        """Whether the running Xray takes connections on its API."""
        ...

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:
        """The server names that can be handed out: a client gets in at once, and their targets are fit.

        Waits up to `wait_s` for the first one.
        """
        ...

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """What was seen of the targets when they were last looked at, which is every minute."""
        ...

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """Look at the targets of all server names now."""
        ...

    def try_link(self, key: Key) -> Trial:
        """Let a real client go through the key's own port and back; within ten seconds, and nothing is left of it."""
        ...


class Host(Protocol):
    """What only the host can do on which the Xray of a node runs."""

    def check(self, desired: tuple[Inbound, ...]) -> None:
        """Let Xray itself test a config.json with these inbounds; nothing is written. Raises what `apply` raises."""
        ...

    def quiesce(self) -> Samples:
        """End all customers' connections, let no new ones in, and give the last counters. Raises XrayUnavailable.

        Meant for just before `restart`: whatever passes after these counters were read would not be counted.
        """
        ...

    def restart(self) -> None:
        """End the running Xray and return when a new one answers. Raises XrayUnavailable when none does in time."""
        ...

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Limit what goes through these ports, each way, and no other. Raises SpeedLimitImpossible."""
        ...

    def cut_device(self, port: int, address: str) -> None:
        """End the open connections from this address to this port."""
        ...

    def is_free(self, port: int) -> bool:
        """Whether nothing listens on this TCP port of the host."""
        ...

    def check_file(self) -> None:
        """Let Xray itself test config.json as it is. Raises ConfigRefused."""
        ...
