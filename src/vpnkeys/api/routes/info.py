"""Serves name, version and health, which are open to all."""

from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from vpnkeys import __version__
from vpnkeys.api.auth.access import public
from vpnkeys.api.convert.health import API_VERSION, health_answer
from vpnkeys.api.deps import HealthDep
from vpnkeys.api.routing import ApiRouter
from vpnkeys.wire.health import Health, Info

router = ApiRouter(tags=["info"])

_BY_ACCEPT = {"Vary": "Accept"}


@router.get("/api", include_in_schema=False)
@router.get("/api/")
@public
async def info() -> Info:
    """Return the API's name and version."""
    return Info(message="VPN Key Management API", version=API_VERSION, status="running", service_version=__version__)


@router.get("/", response_model=Info)
@public
async def root(request: Request, response: Response) -> Info | RedirectResponse:
    """Return the API's name and version; a browser is led to the dashboard."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("./ui/", headers=_BY_ACCEPT)
    response.headers.update(_BY_ACCEPT)
    return await info()


@router.get("/health", responses={503: {"model": Health, "description": "Unhealthy"}})
@public
async def health(shared: HealthDep, response: Response) -> Health:
    """Return how each part of the server is; 503 when it is unhealthy."""
    shown = health_answer(await shared.result())
    if shown.status == "unhealthy":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return shown
