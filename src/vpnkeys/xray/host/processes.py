"""One life of a process, by which it is known again though pids repeat."""

from pathlib import Path


def start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot: with its pid it names one process life. Raises OSError.

    Field 22 of /proc/PID/stat (proc(5)); the second field may contain anything, so count from behind its bracket.
    """
    return int(_stat_from_state_on(pid)[19])


def is_running(epoch: str) -> bool:
    """Whether this process life goes on; one that ended and waits to be reaped does not."""
    pid = int(epoch.split("-")[1])
    try:
        return epoch_of(pid) == epoch and _stat_from_state_on(pid)[0] not in {"Z", "X"}
    except OSError:
        return False


def _stat_from_state_on(pid: int) -> list[str]:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()


def epoch_of(pid: int) -> str:
    """The name of this one process life, also across reboots. Raises OSError when there is no such process."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return f"{boot}-{pid}-{start_ticks(pid)}"
