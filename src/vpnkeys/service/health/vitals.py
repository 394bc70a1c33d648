"""Defines the numbers that a running server gives to a monitoring system."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnkeys.domain.traffic import Bytes
from vpnkeys.service.drift import DriftCount
from vpnkeys.worker import WorkerStatus


@dataclass(frozen=True, slots=True)
class NodeVitals:
    """Holds the numbers of a node; None where a number is not known.

    `traffic` counts the bytes that passed there since this server started. The built-in node has neither lag nor age of
    its last report, as it is this server; nor versions of its own.
    """

    name: str
    group: str
    state: str
    keys: int
    places: int | None
    traffic: Bytes
    failed: int
    lag_s: float | None
    seen_age_s: float | None
    cpu_share: float | None
    clock_ahead_s: float | None
    versions: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """Holds the numbers of one moment; None where a number cannot be read now.

    `traffic` counts the bytes of all keys since this server started, deleted keys included; `traffic_by_key` (by key
    id) the bytes of each key since it was made. Neither falls when a total is reset, because Prometheus takes a counter
    that falls for a restart. Ages and times are in seconds. `connections` are those to the keys' ports, `relayed` are
    bytes between strangers and REALITY's targets, and `xray_descriptors` are used and allowed.
    """

    is_database_up: bool
    is_xray_up: bool
    xray_restarts: int
    keys: Mapping[str, int] | None
    traffic: Bytes
    traffic_by_key: Mapping[str, Bytes]
    gaps: int | None
    sampling_lag_s: float | None
    drift: DriftCount | None
    targets: Mapping[str, bool]
    names_ready: int
    backup_age_s: float | None
    certificate_expires_in_s: float | None
    workers: tuple[WorkerStatus, ...]
    problems: tuple[str, ...] = ()
    connections: int | None = None
    connections_refused: int | None = None
    silent_ended: int = 0
    relayed: Bytes | None = None
    xray_descriptors: tuple[int, int] | None = None
    nodes: tuple[NodeVitals, ...] = ()
