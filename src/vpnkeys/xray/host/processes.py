"""Names one process life, so that a process is recognised although pids are used again."""

from pathlib import Path


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
