"""Keeps the last quarter of an hour of a server, and reads what its host has and uses."""

import os
import shutil
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from vpnkeys.domain.errors import Unavailable
from vpnkeys.interfaces import Clock, Store
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.ops.vitals import Odometer, certificate_expires_at
from vpnkeys.service.health.overview import HostLoad, Moment, Overview
from vpnkeys.store.files.certificate import CertificateFiles
from vpnkeys.worker import Job, Worker

EVERY_S = 10
KEPT_FOR_S = 15 * 60

_JOB = Job(
    name="overview",
    failing="the figures of the last minutes could not be noted",
    every_s=EVERY_S,
    back_off_s=(EVERY_S,),
    late_after_s=60.0,
    expected=(Unavailable, OSError),
    quiet_s=60.0,
)


@dataclass(slots=True)
class OverviewKeeper:
    """Notes every ten seconds what passed and how busy the host was, and forgets it after a quarter of an hour."""

    data_dir: Path
    store: Store
    backups: DailyBackup
    certificate: CertificateFiles
    clock: Clock
    proc: Path = Path("/proc")
    worker: Worker = field(init=False)
    _moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=KEPT_FOR_S // EVERY_S), init=False)
    _odometer: Odometer = field(default_factory=Odometer, init=False)
    _since: datetime | None = field(default=None, init=False)
    _cpu: tuple[int, int] = field(default=(0, 0), init=False)
    _cpu_share: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the worker; it notes when it is started."""
        self.worker = Worker(_JOB, self.note)

    def note(self) -> None:
        """Note the traffic between the last two samples. Raises StoreUnavailable."""
        self._cpu_share = self._read_cpu()
        tally = self.store.tally()
        if self._since is None:
            self._odometer.look(tally.by_node)
            # A server that was never sampled counts from now on.
            self._since = tally.sampled_at or self.clock.now()
            return
        # By the time of the samples and not of this look: a sample that comes between two looks would be a peak.
        if tally.sampled_at is None or tally.sampled_at <= self._since:
            return
        before = self._odometer.total
        self._odometer.look(tally.by_node)
        seconds = (tally.sampled_at - self._since).total_seconds()
        self._since = tally.sampled_at
        passed = self._odometer.total
        up, down = (passed.up - before.up) / seconds, (passed.down - before.down) / seconds
        self._moments.append(Moment(tally.sampled_at, up, down, self._cpu_share))

    @property
    def cpu_share(self) -> float | None:
        """Return the busy part of all cores in the last ten seconds; None at first."""
        return self._cpu_share

    def look(self) -> Overview:
        """Return the figures of this moment. Raises OSError."""
        since = self.clock.now() - timedelta(seconds=KEPT_FOR_S)
        newest = next(iter(self.backups.files()), None)
        return Overview(
            host=self._host(),
            recent=tuple(moment for moment in tuple(self._moments) if moment.at >= since),
            newest_backup_at=None if newest is None else newest.created_at,
            certificate_expires_at=certificate_expires_at(self.certificate),
        )

    def _host(self) -> HostLoad:
        disk = shutil.disk_usage(self.data_dir)
        memory = self._read_memory()
        return HostLoad(
            cpu_share=self._cpu_share,
            cores=os.cpu_count() or 1,
            memory_bytes=memory.get("MemTotal"),
            memory_free_bytes=memory.get("MemAvailable"),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
        )

    def _read_cpu(self) -> float | None:
        """Return the busy share of all cores since the last call; None at the first (proc_stat(5))."""
        ticks = [int(value) for value in (self.proc / "stat").read_text().splitlines()[0].split()[1:9]]
        idle = ticks[3] + ticks[4]  # waiting for the disk is idle too
        (busy_before, all_before), self._cpu = self._cpu, (sum(ticks) - idle, sum(ticks))
        passed = self._cpu[1] - all_before
        if not all_before or passed <= 0:
            return None
        return min(max((self._cpu[0] - busy_before) / passed, 0.0), 1.0)  # the kernel may take back waits for the disk

    def _read_memory(self) -> dict[str, int]:
        """Return the kernel's figures of memory in bytes (proc_meminfo(5))."""
        lines = (line.split() for line in (self.proc / "meminfo").read_text().splitlines())
        return {name.rstrip(":"): int(value) * 1024 for name, value, *_ in lines}
