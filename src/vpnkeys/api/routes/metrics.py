"""Serves `/metrics`: requests and the state of the server, for Prometheus."""

from typing import Annotated

from fastapi import Header, Response

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import MetricsDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool

router = ApiRouter(tags=["system"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401, 429, 500)},
)
@requires(Scope.READ, pool=Pool.SLOW)
def get_metrics(metrics: MetricsDep, accept: Annotated[str, Header()] = "") -> Response:
    """Return metrics for Prometheus; it can send an API token with the scope `read` as its bearer token."""
    from vpnkeys.api.exposition import expose  # noqa: PLC0415 - most servers are never asked, and it is large

    body, content_type = expose(metrics, accept)
    return Response(body, media_type=content_type)
