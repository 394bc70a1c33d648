"""`/metrics` for Prometheus: how requests went, and how the server is."""

from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vpnkeys import __version__
from vpnkeys.api.deps import reading
from vpnkeys.api.problems import problems
from vpnkeys.api.requests import Served
from vpnkeys.bootstrap.vitals import Vitals

router = APIRouter(tags=["system"])

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, look: Callable[[], Vitals], xray_version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody reads
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "vpnkeys_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._durations = Histogram(
            "vpnkeys_http_request_duration_seconds",
            "Time from a request to the beginning of its answer.",
            ("method", "route"),
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_ServerCollector(look, xray_version))

    def count(self, served: Served) -> None:
        """Take in a request that was answered."""
        self._requests.labels(served.method, served.route, str(served.status)).inc()
        self._durations.labels(served.method, served.route).observe(served.duration_s)


class _ServerCollector(Collector):
    """Looks at the server when Prometheus asks."""

    def __init__(self, look: Callable[[], Vitals], xray_version: str) -> None:
        self._look = look
        self._build = (__version__, xray_version)

    def collect(self) -> Iterator[Metric]:
        """All that is known now; what is not known is left out."""
        vitals = self._look()
        build = GaugeMetricFamily("vpnkeys_build_info", "The versions.", labels=("version", "xray_version"))
        build.add_metric(self._build, 1)
        yield build
        yield from _numbers(vitals)
        yield from _families(vitals)

    def describe(self) -> list[Metric]:
        """Nothing: registering must not look at a server that is still being made."""
        return []


def _numbers(vitals: Vitals) -> Iterator[Metric]:
    """What is one number each."""
    gauges: tuple[tuple[str, str, float | None], ...] = (
        ("vpnkeys_database_up", "Whether the database answers.", vitals.is_database_up),
        ("vpnkeys_xray_up", "Whether Xray takes connections on its API.", vitals.is_xray_up),
        ("vpnkeys_sampling_lag_seconds", "Age of the last good sample of traffic.", vitals.sampling_lag_s),
        ("vpnkeys_server_names_ready", "Server names that new keys can be given.", vitals.names_ready),
        ("vpnkeys_backup_age_seconds", "Age of the newest backup in the data directory.", vitals.backup_age_s),
        (
            "vpnkeys_certificate_expiry_seconds",
            "Time until the API's certificate expires.",
            vitals.certificate_expires_in_s,
        ),
    )
    yield from (GaugeMetricFamily(name, told, value) for name, told, value in gauges if value is not None)
    counters: tuple[tuple[str, str, float | None], ...] = (
        ("vpnkeys_xray_restarts", "How often Xray was started again since this server started.", vitals.xray_restarts),
        ("vpnkeys_traffic_gaps", "How often Xray ended unasked, so that traffic may be missing.", vitals.gaps),
    )
    yield from (CounterMetricFamily(name, told, value) for name, told, value in counters if value is not None)


def _families(vitals: Vitals) -> Iterator[Metric]:
    """What has labels."""
    keys = GaugeMetricFamily("vpnkeys_keys", "Keys by status.", labels=("status",))
    for status, count in (vitals.keys or {}).items():
        keys.add_metric((status,), count)
    traffic = CounterMetricFamily(
        "vpnkeys_traffic_bytes", "Bytes of all keys since this server started.", labels=("direction",)
    )
    by_key = CounterMetricFamily(
        "vpnkeys_key_traffic_bytes", "Bytes of a key since it was made.", labels=("key_id", "direction")
    )
    for direction in ("up", "down"):
        traffic.add_metric((direction,), getattr(vitals.traffic, direction))
        for key_id, used in vitals.traffic_by_key.items():
            by_key.add_metric((key_id, direction), getattr(used, direction))
    drift = GaugeMetricFamily("vpnkeys_drift", "Inbounds that differ from the database.", labels=("side",))
    if vitals.drift is not None:
        drift.add_metric(("file",), vitals.drift.file)
        if vitals.drift.runtime is not None:
            drift.add_metric(("runtime",), vitals.drift.runtime)
    targets = GaugeMetricFamily("vpnkeys_target_up", "Whether a target is fit.", labels=("server_name",))
    for name, is_up in vitals.targets.items():
        targets.add_metric((name,), is_up)
    yield from (keys, traffic, by_key, drift, targets)


@router.get(
    "/metrics",
    dependencies=[reading],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401, 429, 500)},
)
def get_metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Metrics for Prometheus; it can send an API token with the scope `read` as its bearer token."""
    metrics: Metrics = request.app.state.metrics
    encode, content_type = choose_encoder(accept)
    return Response(encode(metrics.registry), media_type=content_type)
