"""The check that this host has what settings name: files, and addresses to listen on."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from vpnkeys.client import ApiError, Client
from vpnkeys.doctor.finding import Verdict, fail, ok
from vpnkeys.doctor.installation import Installation
from vpnkeys.ops.named import named_faults


@dataclass(frozen=True, slots=True)
class NamedFacts:
    """A line for each setting that names what is not there."""

    faults: tuple[str, ...]
    restart: str


def look(installation: Installation) -> NamedFacts:
    """Return what settings name in vain."""
    faults = named_faults(installation.settings, runs_xray=not runs_no_xray(installation.server))
    return NamedFacts(faults, installation.restart)


def judge(facts: NamedFacts) -> Iterable[Verdict]:
    """Report each of them: the next start is refused."""
    yield from (fail(f"the next start will be refused: {fault}", facts.restart) for fault in facts.faults)
    if not facts.faults:
        yield ok("this host has the files and addresses that settings name")


def runs_no_xray(server: Client | None) -> bool:
    """Return whether the server that runs is a control plane without a node of its own."""
    with suppress(ApiError):
        return server is not None and server.health().services.get("xray") == "absent"
    return False
