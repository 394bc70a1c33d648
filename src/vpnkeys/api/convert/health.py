"""Converts health to answers."""

import time

from vpnkeys import __version__
from vpnkeys.service.health.health import HealthReport
from vpnkeys.wire.health import Health, HealthProblem

API_VERSION = "2.3.4"


def health_answer(report: HealthReport) -> Health:
    """Return a report of health as the API shows it."""
    return Health(
        status=report.status,
        problems=tuple(
            HealthProblem(code=problem.code, since=problem.since, detail=problem.detail) for problem in report.problems
        ),
        timestamp=int(time.time()),
        version=API_VERSION,
        service_version=__version__,
        services={"api": "running", "xray": report.xray, "database": report.database},
        uptime_seconds=report.uptime_s,
        connection_cut=report.connection_cut,
        udp_full_cone=report.udp_full_cone,
        server_names_ready=report.server_names_ready,
    )
