"""The check of what the running server says of itself: `/health`."""

from collections.abc import Iterable

from vpnkeys.client import Client
from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.service.health.codes import TROUBLES, Code
from vpnkeys.wire.health import Health


def look(server: Client) -> Health:
    """Ask the server."""
    return server.health()


def judge(facts: Health) -> Iterable[Verdict]:
    """Report each problem with its cure."""
    verdict = fail if facts.status == "unhealthy" else warn
    for problem in facts.problems:
        known = TROUBLES[Code(problem.code)].cure if problem.code in {*Code} else "see the server's log"
        yield verdict(f"{problem.code}: {problem.detail} What to do: {known}")
    if not facts.problems:
        yield ok("the server reports no problem")
