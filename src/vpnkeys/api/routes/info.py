"""What anybody may ask: what this is, and whether it is well."""

import time
from http import HTTPStatus

from fastapi import APIRouter, Response

from vpnkeys import __version__
from vpnkeys.api.deps import ServerDep
from vpnkeys.bootstrap import Server
from vpnkeys.wire.health import Health, Info

router = APIRouter(tags=["info"])

API_VERSION = "2.3.4"


@router.get("/api", include_in_schema=False)
@router.get("/api/")
@router.get("/")
async def info() -> Info:
    """The API's name and version."""
    return Info(message="VPN Key Management API", version=API_VERSION, status="running", service_version=__version__)


@router.get("/health", responses={503: {"model": Health, "description": "Unhealthy"}})
def health(server: ServerDep, response: Response) -> Health:
    """How everything is; 503 when it is unhealthy."""
    shown = health_now(server)
    if shown.status == "unhealthy":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return shown


def health_now(server: Server) -> Health:
    """How everything is at this moment."""
    report = server.health.report()
    return Health(
        status=report.status,
        timestamp=int(time.time()),
        version=API_VERSION,
        service_version=__version__,
        services={"api": "running", "xray": report.xray, "database": report.database},
        uptime_seconds=report.uptime_s,
        connection_cut=report.connection_cut,
        udp_full_cone=report.udp_full_cone,
        server_names_ready=report.server_names_ready,
    )
