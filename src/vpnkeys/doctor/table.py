"""The table of checks, and how they are gone through."""

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
    kernel,
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
    """Facts are gathered, then judged. `look` may raise ApiError, VpnKeysError or OSError."""

    name: str
    look: Callable[[Installation], F]
    judge: Callable[[F], Iterable[Verdict]]

    def findings(self, place: Installation) -> Iterator[Finding]:
        """What it finds; that it could not look is worth a warning."""
        try:
            verdicts = tuple(self.judge(self.look(place)))
        except ApiError as error:
            verdicts = (fail(f"the server does not tell: {error.detail}"),)
        except (VpnKeysError, OSError) as error:
            verdicts = (warn(f"could not be looked at: {error}"),)
        for verdict in verdicts:
            yield Finding(self.name, *verdict)


@dataclass(frozen=True, slots=True)
class AskingCheck(Generic[F]):
    """The same, of a running server alone."""

    name: str
    ask: Callable[[Client], F]
    judge: Callable[[F], Iterable[Verdict]]

    def with_server(self, server: Client) -> Check[F]:
        """The check, now that there is a server."""
        return Check(self.name, lambda _place: self.ask(server), self.judge)


LOCAL_CHECKS: tuple[Check[Any], ...] = (
    Check("clock", clock.look, clock.judge),
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

SERVER_CHECKS: tuple[AskingCheck[Any], ...] = (
    AskingCheck("drift", drift.look, drift.judge),
    AskingCheck("kernel", kernel.look, kernel.judge),
    AskingCheck(SELF_TEST, selftest.look, selftest.judge),
)


def examine(place: Installation, *, self_test: bool = True) -> Iterator[Finding]:
    """Go through all checks that can be made there, the one that makes a key last."""
    wanted = [check for check in SERVER_CHECKS if self_test or check.name != SELF_TEST]
    yield Finding("server", *_server(place, [check.name for check in wanted]))
    for check in LOCAL_CHECKS:
        yield from check.findings(place)
    if place.server is not None:
        for asking in wanted:
            yield from asking.with_server(place.server).findings(place)


def _server(place: Installation, unseen: list[str]) -> Verdict:
    left_out = f"not looked at: {', '.join(unseen)}"
    if place.server is not None:
        return ok(f"a server runs on {place.data_dir} (pid {place.pid})")
    if place.pid is not None:
        return fail(f"the server on {place.data_dir} (pid {place.pid}) does not answer; {left_out}", place.restart)
    return fail(f"no server runs on {place.data_dir}; {left_out}", place.start)
