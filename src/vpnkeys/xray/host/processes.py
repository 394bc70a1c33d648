"""Names one process life, so that a process is recognised although pids are used again, and counts its descriptors."""

import os
from pathlib import Path
from typing import NamedTuple


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot (proc(5), field 22 of stat). Raises OSError."""
    return int(_stat_from_state_on(pid)[19])


def is_running(epoch: str) -> bool:
    """Return whether the process of this epoch still runs; a zombie does not."""
    pid = int(epoch.split("-")[1])
    try:
        return epoch_of(pid) == epoch and _stat_from_state_on(pid)[0] not in {"Z", "X"}
    except OSError:
        return False


def _stat_from_state_on(pid: int) -> list[str]:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The second field is the program's name in brackets, and may itself contain spaces and brackets.
    return stat.rpartition(")")[2].split()


def epoch_of(pid: int) -> str:
    """Return the name of one process life: boot id, pid and start time. Raises OSError without such a process."""
    # A pid alone is used again, and start times repeat after a reboot.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return f"{boot}-{pid}-{start_ticks(pid)}"


class Descriptors(NamedTuple):
    """The file descriptors that a process uses, and how many it may have."""

    used: int
    limit: int


def descriptors_of(pid: int) -> Descriptors:
    """Return the descriptors of a process. Raises OSError."""
    return Descriptors(len(os.listdir(f"/proc/{pid}/fd")), _most_open_files(pid))  # noqa: PTH208 - ten thousand of them


def _most_open_files(pid: int) -> int:
    """Return the soft limit, which is the one that counts (getrlimit(2)); a very big number for "unlimited"."""
    for line in Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdecimal() else 2**31
    return 2**31
