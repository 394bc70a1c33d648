"""The table of checks, and the function that runs them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vpnkeys.client import ApiError, Client
from vpnkeys.doctor.checks import (
    backups,
    certificate,
    clock,
    database,
    descriptors,
    disk,
    drift,
    firewall,
    health,
    kernel,
    named,
    nodes,
    permissions,
    ports,
    selftest,
    targets,
    xray,
)
from vpnkeys.doctor.finding import Finding, Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.domain.errors import VpnKeysError

F = TypeVar("F")

SELF_TEST = "self-test"


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """A check of this host. `look` may raise ApiError, VpnKeysError or OSError."""

    name: str
    look: Callable[[Installation], F]
    judge: Callable[[F], Iterable[Verdict]]

    def findings(self, installation: Installation) -> Iterator[Finding]:
        """Yield the findings of the check; a `look` that fails becomes a finding too."""
        try:
            verdicts = tuple(self.judge(self.look(installation)))
        except ApiError as error:
            verdicts = (fail(f"the server refused the check's request: {error.detail}"),)
        except (VpnKeysError, OSError) as error:
            verdicts = (warn(f"this could not be checked: {error}"),)
        for verdict in verdicts:
            yield Finding(self.name, *verdict)


@dataclass(frozen=True, slots=True)
class ServerCheck(Generic[F]):
    """A check that asks the running server."""

    name: str
    look: Callable[[Client], F]
    judge: Callable[[F], Iterable[Verdict]]

    def with_server(self, server: Client) -> Check[F]:
        """Return the check bound to a running server."""
        return Check(self.name, lambda _installation: self.look(server), self.judge)


LOCAL_CHECKS: tuple[Check[Any], ...] = (
    Check("clock", clock.look, clock.judge),
    Check("settings", named.look, named.judge),
    Check("ports", ports.look, ports.judge),
    Check("firewall", firewall.look, firewall.judge),
    Check("certificate", certificate.look, certificate.judge),
    Check("disk", disk.look, disk.judge),
    Check("permissions", permissions.look, permissions.judge),
    Check("descriptors", descriptors.look, descriptors.judge),
    Check("xray", xray.look, xray.judge),
    Check("targets", targets.look, targets.judge),
    Check("database", database.look, database.judge),
    Check("backups", backups.look, backups.judge),
)

SERVER_CHECKS: tuple[ServerCheck[Any], ...] = (
    ServerCheck("health", health.look, health.judge),
    ServerCheck("drift", drift.look, drift.judge),
    ServerCheck("nodes", nodes.look, nodes.judge),
    ServerCheck("kernel", kernel.look, kernel.judge),
    ServerCheck(SELF_TEST, selftest.look, selftest.judge),
)

_OF_XRAY = frozenset({"ports", "firewall", "descriptors", "xray", "targets", "drift", "kernel", SELF_TEST})
"""Checks of an Xray, its ports and its customers: none of them is where a control plane runs alone."""


def examine(installation: Installation, *, self_test: bool = True) -> Iterator[Finding]:
    """Yield the findings of all checks that are possible; the self-test, which makes a key, comes last."""
    left_out = _OF_XRAY if named.runs_no_xray(installation.server) else frozenset()
    wanted = [check for check in SERVER_CHECKS if (self_test or check.name != SELF_TEST) and check.name not in left_out]
    yield Finding("server", *_server(installation, [check.name for check in wanted]))
    for check in LOCAL_CHECKS:
        if check.name not in left_out:
            yield from check.findings(installation)
    if installation.server is not None:
        for asking in wanted:
            yield from asking.with_server(installation.server).findings(installation)


def _server(installation: Installation, unseen: list[str]) -> Verdict:
    left_out = f"not checked: {', '.join(unseen)}"
    if installation.server is not None:
        return ok(f"a server runs on {installation.data_dir} (pid {installation.pid})")
    if installation.pid is not None:
        return fail(
            f"the server on {installation.data_dir} (pid {installation.pid}) does not answer; {left_out}",
            installation.restart,
        )
    return fail(f"no server runs on {installation.data_dir}; {left_out}", installation.start)
