"""What a running server reports of itself to a monitoring system."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnkeys.domain.traffic import Bytes
from vpnkeys.service.drift import DriftCount
from vpnkeys.worker import Status


@dataclass(frozen=True, slots=True)
class Vitals:
    """The numbers of one moment; None where one cannot be told now.

    `traffic` is what was counted since this server started, of all keys, also of those deleted since; `traffic_by_key`
    (by key id) what was ever counted of each. Neither falls: resets do not matter. Ages and times in seconds.
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
    workers: tuple[Status, ...]
