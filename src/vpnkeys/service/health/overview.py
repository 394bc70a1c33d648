"""Defines what the dashboard shows of a server at a glance."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class HostLoad:
    """Holds what the host has and uses; None where the kernel does not say.

    `cpu_share` is the busy part of all cores, from 0 to 1, in the time since the look before.
    """

    cpu_share: float | None
    cores: int
    memory_bytes: int | None
    memory_free_bytes: int | None
    disk_bytes: int
    disk_free_bytes: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Holds the traffic of all keys in the seconds before `at`, in bytes a second, and how busy the host was."""

    at: datetime
    up_rate: float
    down_rate: float
    cpu_share: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Holds the figures of one moment. `recent` is the last quarter of an hour, oldest first.

    Times are UTC without an offset; None where there is no backup, or the certificate cannot be read.
    """

    host: HostLoad
    recent: tuple[Moment, ...]
    newest_backup_at: datetime | None
    certificate_expires_at: datetime | None
