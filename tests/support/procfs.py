"""What /proc tells about processes and their sockets (Linux).

Asking "does the port answer?" is not enough in a test: another program may hold it. These functions
answer "does *this process* listen there?" by matching socket inodes.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

Protocol = Literal["tcp", "udp"]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_CPUCLOCK_SCHED = 2

# Socket states of /proc/net: a TCP listener, and a UDP socket that is bound but not connected.
_WAITING_STATE: dict[Protocol, str] = {"tcp": "0A", "udp": "07"}


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on, or None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may itself hold blanks and brackets.
    return text.rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped does not."""
    fields = _stat_fields(pid)
    return fields is not None and fields[0] not in ("Z", "X")


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names one process."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields is not None else None


def resident_mb(pid: int) -> float:
    """What a process holds (VmRSS), in 10^6 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, threads that have ended included, to the nanosecond."""
    # What clock_getcpuclockid(3) returns; Python has it for threads only. Ticks of /proc would be too coarse.
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def all_pids() -> list[int]:
    """Every process of the machine that /proc shows."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def descendants(pid: int) -> list[int]:
    """Children of the process, their children and so on, parents first."""
    children: dict[int, list[int]] = {}
    for other in all_pids():
        fields = _stat_fields(other)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(other)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def executable(pid: int) -> Path | None:
    """The program file a process runs, or None when it is gone or not ours to see."""
    try:
        return Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None


def mentions(pid: int, text: str) -> bool:
    """Whether the text stands in the command line or the environment of the process."""
    wanted = os.fsencode(text)
    for name in ("cmdline", "environ"):
        try:
            if wanted in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
        except OSError:
            continue
    return False


def _socket_inodes(pid: int) -> set[str]:
    """Inodes of all sockets the process holds open."""
    inodes: set[str] = set()
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return inodes
    for entry in entries:
        try:
            link = str(entry.readlink())
        except OSError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[len("socket:[") : -1])
    return inodes


def _decode_address(text: str) -> IPAddress:
    """An address of /proc/net/tcp: hexadecimal, every 32-bit word in the machine's byte order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    return ipaddress.ip_address(raw)


def _waiting_sockets(pid: int, protocol: Protocol) -> Iterator[tuple[IPAddress, int, str]]:
    """(address, port, inode) of the waiting sockets in the network namespace of the process."""
    for name in (protocol, f"{protocol}6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _WAITING_STATE[protocol]:
                address, _, port = fields[1].partition(":")
                yield _decode_address(address), int(port, 16), fields[9]


def _covers(bound: IPAddress, wanted: IPAddress) -> bool:
    """Whether a socket bound to one address gets connections to the other."""
    mapped = getattr(bound, "ipv4_mapped", None)
    if wanted in (bound, mapped):
        return True
    # "::" takes IPv4 as well unless told otherwise; Go and Xray leave it so.
    return bound.is_unspecified and bound.version in (wanted.version, 6)


def _waiting_inodes(pid: int, host: str, port: int, protocol: Protocol) -> set[str]:
    """Inodes of the sockets that wait for connections at host:port in the network namespace of the process."""
    wanted = ipaddress.ip_address(host)
    return {
        inode
        for address, number, inode in _waiting_sockets(pid, protocol)
        if number == port and _covers(address, wanted)
    }


def listens(pids: Iterable[int], host: str, port: int, protocol: Protocol = "tcp") -> bool:
    """Whether one of these processes itself waits for connections at host:port."""
    for pid in pids:
        inodes = _waiting_inodes(pid, host, port, protocol)
        if inodes and inodes & _socket_inodes(pid):
            return True
    return False


def listens_below(pid: int, host: str, port: int, protocol: Protocol = "tcp") -> bool:
    """Whether the process, or one below it in its network namespace, waits for connections at host:port."""
    # First whether anyone does at all: to find the processes below costs a look at every process of the machine.
    inodes = _waiting_inodes(pid, host, port, protocol)
    return bool(inodes) and any(inodes & _socket_inodes(one) for one in (pid, *descendants(pid)))
