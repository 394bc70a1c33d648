"""The check of free disk space for the database, config.json and backups."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.files import RESERVE_BYTES, has_reserve
from vpnkeys.ops.backup import BACKUPS

_MIB = 2**20
_LITTLE, _TOO_LITTLE = 512 * _MIB, 32 * _MIB
_FEW_INODES, _TOO_FEW_INODES = 2000, 100


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """Free space on the data directory's file system. `inodes` is None where the file system does not count them."""

    where: str
    free_bytes: int
    inodes: int | None
    backup_bytes: int
    has_reserve: bool = True


def look(installation: Installation) -> DiskFacts:
    """Return the free space as the file system reports it. Raises OSError."""
    state = os.statvfs(installation.data_dir)
    backups = installation.data_dir / BACKUPS
    sizes = [entry.stat().st_size for entry in backups.iterdir() if entry.is_file()] if backups.is_dir() else []
    # f_bavail and f_favail leave out what the file system reserves for root, which the server cannot use.
    inodes = state.f_favail if state.f_files else None
    free, reserve = state.f_bavail * state.f_frsize, has_reserve(installation.data_dir)
    return DiskFacts(str(installation.data_dir), free, inodes, sum(sizes), reserve)


def judge(facts: DiskFacts) -> Iterable[Verdict]:
    """Report little space. Without any, no key can be changed; existing keys go on working."""
    left = f"{facts.free_bytes // _MIB} MiB are left for {facts.where}"
    used_up = "" if facts.has_reserve else f"the reserve of {RESERVE_BYTES // _MIB} MiB is in use already; "
    hint = f"{used_up}free some space; its backups take {facts.backup_bytes // _MIB} MiB"
    if facts.free_bytes < _TOO_LITTLE:
        yield fail(f"{left}: no key can be made or changed soon; {hint}")
    elif facts.free_bytes < _LITTLE:
        yield warn(f"{left}; {hint}")
    if facts.inodes is not None and facts.inodes < _FEW_INODES:
        words = f"{facts.inodes} more files can be made on the file system of {facts.where}; remove small files from it"
        yield fail(words) if facts.inodes < _TOO_FEW_INODES else warn(words)
    if facts.free_bytes >= _LITTLE and (facts.inodes is None or facts.inodes >= _FEW_INODES):
        yield ok(left)
