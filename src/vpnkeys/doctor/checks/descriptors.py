"""The check of file descriptors, which limit how many connections the server and Xray can have."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.xray.host.processes import descriptors_of

_FEW = {"the server": 1024, "Xray": 8192}
"""Fewer are too few. The API has few clients; a customer's device has dozens of connections, each with two in Xray."""

_FULL = 0.8
_ENOUGH = 65536


@dataclass(frozen=True, slots=True)
class Descriptors:
    """A process with its limit of descriptors and the number that it uses."""

    name: str
    pid: int
    limit: int
    used: int


def look(installation: Installation) -> tuple[Descriptors, ...]:
    """Return the descriptors of the server and of Xray, as far as they run and /proc lets us read them."""
    found = []
    for name, pid in (("the server", installation.pid), ("Xray", installation.xray_pid)):
        with suppress(OSError):
            if pid is not None:
                seen = descriptors_of(pid)
                found.append(Descriptors(name, pid, seen.limit, seen.used))
    return tuple(found)


def judge(facts: tuple[Descriptors, ...]) -> Iterable[Verdict]:
    """Report processes whose limit is low or nearly reached."""
    for process in facts:
        words = f"{process.name} may have {process.limit} file descriptors and uses {process.used}"
        # prlimit changes the limit of the running process, so that no connection drops.
        mend = f"prlimit --pid {process.pid} --nofile={_ENOUGH}:{_ENOUGH}"
        if process.used > _FULL * process.limit:
            yield fail(f"{words}: it will soon refuse connections", mend)
        elif process.limit < _FEW[process.name]:
            yield warn(f"{words}: too few for many customers; set LimitNOFILE= in its unit to make it permanent", mend)
        else:
            yield ok(words)
