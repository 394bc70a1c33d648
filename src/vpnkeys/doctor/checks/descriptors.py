"""How many connections the server and Xray may have open: each costs descriptors."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation

_FEW = {"the server": 1024, "Xray": 8192}
"""An API has few clients; a customer's device has dozens of connections, with two descriptors each."""

_FULL = 0.8
_ENOUGH = 65536


@dataclass(frozen=True, slots=True)
class Descriptors:
    """A process, how many descriptors it may have, and how many it has."""

    name: str
    pid: int
    limit: int
    used: int


def look(place: Installation) -> tuple[Descriptors, ...]:
    """Of the processes that run, and that the kernel shows us."""
    found = []
    for name, pid in (("the server", place.pid), ("Xray", place.xray_pid)):
        with suppress(OSError):
            if pid is not None:
                found.append(Descriptors(name, pid, _limit(pid), len(list(Path(f"/proc/{pid}/fd").iterdir()))))
    return tuple(found)


def judge(facts: tuple[Descriptors, ...]) -> Iterable[Verdict]:
    """The limit that counts is the soft one, which a process may have raised itself."""
    for process in facts:
        words = f"{process.name} may have {process.limit} descriptors and has {process.used}"
        mend = f"prlimit --pid {process.pid} --nofile={_ENOUGH}:{_ENOUGH}"
        if process.used > _FULL * process.limit:
            yield fail(f"{words}: soon it takes no more connections", mend)
        elif process.limit < _FEW[process.name]:
            yield warn(f"{words}: too few for many customers; LimitNOFILE= of the unit sets it for good", mend)
        else:
            yield ok(words)


def _limit(pid: int) -> int:
    """The soft limit; "unlimited" is more than anybody has."""
    for line in Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdecimal() else 2**31
    return 2**31
