"""Database, config.json and the running Xray, compared by the server."""

from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.client import Client
from vpnkeys.doctor.checks.ports import SYNC
from vpnkeys.doctor.finding import Verdict, fail, ok


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """`xray` is None while Xray does not answer."""

    keys: int
    file: bool
    xray: bool | None


def look(server: Client) -> DriftFacts:
    """Ask; nothing is changed."""
    found = server.system.xray_validate_sync().validation
    running = found.runtime
    is_told = running is not None and running.reachable
    return DriftFacts(len(found.key_uuids), found.synced, running.synced if running and is_told else None)


def judge(facts: DriftFacts) -> Iterable[Verdict]:
    """The database is right."""
    if not facts.file:
        yield fail("config.json is not what the database says; GET /api/system/xray/validate-sync tells how", SYNC)
    if facts.xray is False:
        yield fail("Xray does not run what the database says; GET /api/system/xray/validate-sync tells how", SYNC)
    if facts.file and facts.xray is not False:
        what = "config.json and Xray have" if facts.xray else "config.json has"
        yield ok(f"{what} the {facts.keys} active keys of the database")
