"""`/metrics` for Prometheus: how requests went, and how the server is."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from vpnkeys.api.counts import Metrics
from vpnkeys.api.deps import reading
from vpnkeys.api.problems import problems

router = APIRouter(tags=["system"])


@router.get(
    "/metrics",
    dependencies=[reading],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401, 429, 500)},
)
def get_metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Metrics for Prometheus; it can send an API token with the scope `read` as its bearer token."""
    metrics: Metrics = request.app.state.metrics
    from vpnkeys.api.exposition import expose  # noqa: PLC0415 - most servers are never asked, and it is large

    body, content_type = expose(metrics, accept)
    return Response(body, media_type=content_type)
