"""Stands in for the built-in node of a control plane that runs no Xray (`serve --no-node`)."""

from collections.abc import Collection, Mapping
from typing import Final, NoReturn

from vpnkeys.domain.errors import ConfigRefused, XrayUnavailable
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.plan import FileState, FileView, Observed, Plan, RunningView
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.traffic import Carried, Samples
from vpnkeys.domain.trial import Trial

NO_NODE_HERE: Final = (
    "This control plane runs no Xray of its own (vpnkeys serve --no-node). GET /api/nodes says how each node is."
)


class AbsentNode:
    """Implements `interfaces.Node` and `interfaces.Host` without an Xray: it has nothing, and lacks nothing."""

    def observe(self) -> Observed:
        """Return that there is nothing, as no key wants anything here."""
        return Observed(FileView(FileState.OK, {}), RunningView({}, ""))

    def apply(self, plan: Plan) -> None:
        """Do nothing for a plan that wants nothing. Raises XrayUnavailable for a start."""
        if plan.add:
            _refuse()

    def sample(self, uuids: Collection[str] | None = None) -> Samples:  # noqa: ARG002 - the protocol's
        """Raise XrayUnavailable."""
        _refuse()

    def carried(self) -> Carried | None:
        """Return None: nothing is counted here."""
        return None

    def addresses_online(self, uuids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return that nobody is online here."""
        return dict.fromkeys(uuids, ())

    def is_up(self) -> bool:
        """Return that no Xray takes connections."""
        return False

    def epoch(self) -> str:
        """Raise XrayUnavailable."""
        _refuse()

    def ready_names(self, wait_s: float = 0.0) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        """Return none."""
        return frozenset()

    def working_names(self, most: int, wait_s: float, but: str = "") -> frozenset[str]:  # noqa: ARG002 - as above
        """Return none."""
        return frozenset()

    def problem_of_name(self, server_name: str) -> str:  # noqa: ARG002 - as above
        """Return that nothing is known of it."""
        return ""

    def targets_seen(self) -> tuple[TargetReport, ...]:
        """Return none."""
        return ()

    def look_at_targets(self) -> tuple[TargetReport, ...]:
        """Return none."""
        return ()

    def try_link(self, key: Key) -> Trial:  # noqa: ARG002 - as above
        """Raise XrayUnavailable."""
        _refuse()

    def check(self, desired: tuple[Inbound, ...]) -> None:  # noqa: ARG002 - as above
        """Raise ConfigRefused."""
        self.check_file()

    def quiesce(self) -> Samples:
        """Raise XrayUnavailable."""
        _refuse()

    def restart(self) -> None:
        """Raise XrayUnavailable."""
        _refuse()

    def is_outdated(self) -> bool:
        """Return that no section waits for a restart."""
        return False

    def limit_speeds(self, mbps_by_port: Mapping[int, int]) -> None:
        """Do nothing: nodes limit the speeds of their keys."""

    def cut_device(self, port: int, source: str) -> None:
        """Do nothing: nobody is connected here."""

    def silent_for(self, port: int) -> Mapping[str, float]:  # noqa: ARG002 - as above
        """Return that nobody is connected here."""
        return {}

    def is_free(self, port: int) -> bool:  # noqa: ARG002 - as above
        """Return that no key can have a port here."""
        return False

    def claim_ports(self, wanted: Collection[int]) -> frozenset[int]:  # noqa: ARG002 - as above
        """Return that no other server has them."""
        return frozenset()

    def release_ports(self, left: Collection[int]) -> None:
        """Do nothing."""

    def hold_ports(self, wanted: Collection[int]) -> frozenset[int]:  # noqa: ARG002 - as above
        """Return that no other server has them."""
        return frozenset()

    def can_listen(self, inbound: Inbound) -> bool:  # noqa: ARG002 - as above
        """Return that nothing can listen here."""
        return False

    def check_file(self) -> None:
        """Raise ConfigRefused."""
        raise ConfigRefused(NO_NODE_HERE)


class AbsentProcess:
    """Stands in for the process of Xray in the figures of such a server."""

    restarts = 0


def _refuse() -> NoReturn:
    raise XrayUnavailable(NO_NODE_HERE)
