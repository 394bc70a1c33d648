"""Writes the metrics for Prometheus, by its own library."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vpnkeys import __version__
from vpnkeys.api.counts import BUCKETS_S, Metrics
from vpnkeys.service.health.vitals import NodeVitals, Vitals
from vpnkeys.worker import WorkerStatus

_PROCESS = ProcessCollector(registry=None)


def expose(metrics: Metrics, accept: str) -> tuple[bytes, str]:
    """Return all of a server's metrics, and their media type."""
    encode, content_type = choose_encoder(accept)
    # Not the library's own registry: it is one for the whole process, and would collect once more to learn the names.
    registry = CollectorRegistry(auto_describe=False)
    for collector in (_RequestsCollector(metrics), _PROCESS, _ServerCollector(metrics)):
        registry.register(collector)
    return encode(registry), content_type


class _RequestsCollector(Collector):
    """Collects the counts and times of requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield counts, and times until answers began."""
        requests = CounterMetricFamily(
            "vpnkeys_http_requests", "Requests answered.", labels=("method", "route", "status")
        )
        # Copies, because the event loop goes on counting while this runs in a thread.
        for (method, route, status), count in self._metrics.requests.copy().items():
            requests.add_metric((method, route, str(status)), count)
        yield requests
        durations = HistogramMetricFamily(
            "vpnkeys_http_request_duration_seconds",
            "Time from a request to the beginning of its answer.",
            labels=("method", "route"),
        )
        bounds = (*map(str, BUCKETS_S), "+Inf")
        for labels, taken in self._metrics.durations.copy().items():
            buckets = list(zip(bounds, accumulate(taken.in_bucket), strict=True))
            durations.add_metric(labels, buckets, taken.sum_s)
        yield durations


class _ServerCollector(Collector):
    """Collects the state of the server when Prometheus asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._look = metrics.look
        self._build = (__version__, metrics.xray_version)

    def collect(self) -> Iterator[Metric]:
        """Yield what is known now. Unknown numbers are left out, as a made-up 0 would set off alarms or hide them."""
        vitals = self._look()
        build = GaugeMetricFamily("vpnkeys_build_info", "The versions.", labels=("version", "xray_version"))
        build.add_metric(self._build, 1)
        yield build
        yield from _numbers(vitals)
        yield from _families(vitals)
        yield from _of_nodes(vitals.nodes, self._build)


def _numbers(vitals: Vitals) -> Iterator[Metric]:
    """Yield the metrics that are one number each."""
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
        ("vpnkeys_key_port_connections", "Open connections to the keys' ports.", vitals.connections),
        ("vpnkeys_xray_descriptors", "File descriptors that Xray uses.", _first(vitals.xray_descriptors, 0)),
        ("vpnkeys_xray_descriptors_max", "File descriptors that Xray may have.", _first(vitals.xray_descriptors, 1)),
    )
    yield from (GaugeMetricFamily(name, text, value) for name, text, value in gauges if value is not None)
    counters: tuple[tuple[str, str, float | None], ...] = (
        ("vpnkeys_xray_restarts", "How often Xray was started again since this server started.", vitals.xray_restarts),
        ("vpnkeys_traffic_gaps", "How often Xray ended unasked, so that traffic may be missing.", vitals.gaps),
        (
            "vpnkeys_connections_refused",
            "Connections to the keys' ports that the bounds refused.",
            vitals.connections_refused,
        ),
        (
            "vpnkeys_silent_connections_ended",
            "Connections to the keys' ports that were ended for their silence.",
            vitals.silent_ended,
        ),
    )
    yield from (CounterMetricFamily(name, text, value) for name, text, value in counters if value is not None)


def _first(pair: tuple[int, int] | None, index: int) -> int | None:
    return None if pair is None else pair[index]


def _families(vitals: Vitals) -> Iterator[Metric]:
    """Yield the metrics that have labels."""
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
    relayed = CounterMetricFamily(
        "vpnkeys_fallback_bytes", "Bytes that REALITY passed between strangers and targets.", labels=("direction",)
    )
    for direction in ("up", "down") if vitals.relayed is not None else ():
        relayed.add_metric((direction,), getattr(vitals.relayed, direction))
    drift = GaugeMetricFamily("vpnkeys_drift", "Inbounds that differ from the database.", labels=("side",))
    if vitals.drift is not None:
        drift.add_metric(("file",), vitals.drift.file)
        if vitals.drift.runtime is not None:
            drift.add_metric(("runtime",), vitals.drift.runtime)
    problems = GaugeMetricFamily("vpnkeys_problem", "A problem that /health reports now.", labels=("code",))
    for code in vitals.problems:
        problems.add_metric((code,), 1)
    targets = GaugeMetricFamily("vpnkeys_target_up", "Whether a target is fit.", labels=("server_name",))
    for name, is_up in vitals.targets.items():
        targets.add_metric((name,), is_up)
    yield from (keys, traffic, by_key, relayed, drift, problems, targets, *_of_workers(vitals.workers))


def _of_workers(workers: tuple[WorkerStatus, ...]) -> tuple[Metric, ...]:
    """Return when each background worker last succeeded, and whether it is late."""
    ages = GaugeMetricFamily(
        "vpnkeys_worker_last_success_age_seconds", "Time since a background worker last succeeded.", labels=("worker",)
    )
    late = GaugeMetricFamily(
        "vpnkeys_worker_late", "Whether a background worker is overdue with a success.", labels=("worker",)
    )
    for worker in workers:
        late.add_metric((worker.name,), worker.is_late)
        if worker.last_success_age_s is not None:
            ages.add_metric((worker.name,), worker.last_success_age_s)
    return ages, late


def _of_nodes(nodes: tuple[NodeVitals, ...], own_versions: tuple[str, str]) -> Iterator[Metric]:
    """Yield the metrics of nodes. A server alone has them too: rules for a fleet hold from the first node on."""
    state = GaugeMetricFamily("vpnkeys_node_state", "The state that a node has now.", labels=("node", "state"))
    info = GaugeMetricFamily(
        "vpnkeys_node_info", "The versions of a node.", labels=("node", "group", "version", "xray_version")
    )
    traffic = CounterMetricFamily(
        "vpnkeys_node_traffic_bytes", "Bytes of a node since this server started.", labels=("node", "direction")
    )
    for node in nodes:
        state.add_metric((node.name, node.state), 1)
        info.add_metric((node.name, node.group, *(node.versions or own_versions)), 1)
        for direction in ("up", "down"):
            traffic.add_metric((node.name, direction), getattr(node.traffic, direction))
    yield from (state, info, traffic)
    for name, text, value_of in _NODE_NUMBERS:
        family = GaugeMetricFamily(name, text, labels=("node",))
        for node in nodes:
            if (value := value_of(node)) is not None:
                family.add_metric((node.name,), value)
        yield family


_NODE_NUMBERS: tuple[tuple[str, str, Callable[[NodeVitals], float | None]], ...] = (
    ("vpnkeys_node_keys", "Keys on a node.", lambda node: node.keys),
    ("vpnkeys_node_places", "How many keys a node can have.", lambda node: node.places),
    ("vpnkeys_node_failed_keys", "Keys that are not on a node as they should be.", lambda node: node.failed),
    ("vpnkeys_node_lag_seconds", "For how long a node has not had its present keys.", lambda node: node.lag_s),
    ("vpnkeys_node_seen_age_seconds", "Time since a node was last heard of.", lambda node: node.seen_age_s),
    ("vpnkeys_node_cpu_share", "The busy part of a node's cores.", lambda node: node.cpu_share),
    ("vpnkeys_node_clock_ahead_seconds", "By how much a node's clock is ahead.", lambda node: node.clock_ahead_s),
)
