"""Counts requests and their durations, for `/metrics`."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.server.requests import Served
from vpnkeys.service.health.vitals import Vitals

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Durations:
    """Holds how long requests of one route took: the number in each bucket (and above the last), and the sum."""

    in_bucket: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, duration_s: float) -> None:
        """Count one request that took this long."""
        self.in_bucket[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s


class Metrics:
    """Keeps the metrics of one server. `look` reads its state.

    Requests are counted in plain numbers, and become Prometheus' types only for a scrape: its library takes memory
    that most servers can spare.
    """

    def __init__(self, look: Callable[[], Vitals], xray_version: str) -> None:
        self.look = look
        self.xray_version = xray_version
        self.requests: dict[tuple[str, str, int], int] = {}
        self.durations: dict[tuple[str, str], Durations] = {}

    def count(self, served: Served) -> None:
        """Count a request that was answered, by method, route and status."""
        # Without a lock: only the event loop counts. The route is its pattern, so that ids in paths make no new series.
        kind = (served.method, served.route, served.status)
        self.requests[kind] = self.requests.get(kind, 0) + 1
        durations = self.durations.get(kind[:2])
        if durations is None:
            durations = self.durations[kind[:2]] = Durations()
        durations.add(served.duration_s)
