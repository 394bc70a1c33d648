"""The check that config.json and the running Xray match the database."""

from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.client import Client
from vpnkeys.doctor.checks.ports import SYNC
from vpnkeys.doctor.finding import Verdict, fail, ok


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """The number of active keys, and whether config.json and Xray match the database (None: Xray does not answer)."""

    keys: int
    file: bool
    xray: bool | None


def look(server: Client) -> DriftFacts:
    """Ask the server to compare them; nothing is changed."""
    found = server.system.xray_validate_sync().validation
    running = found.runtime
    answers = running is not None and running.reachable
    return DriftFacts(len(found.key_uuids), found.synced, running.synced if running and answers else None)


def judge(facts: DriftFacts) -> Iterable[Verdict]:
    """Report differences. The database is the one that is right."""
    if not facts.file:
        yield fail("config.json is not what the database says; `vpnkeys system validate` shows the differences", SYNC)
    if facts.xray is False:
        yield fail("Xray does not run what the database says; `vpnkeys system validate` shows the differences", SYNC)
    if facts.file and facts.xray is not False:
        what = "config.json and Xray have" if facts.xray else "config.json has"
        yield ok(f"{what} the {facts.keys} active keys of the database")
