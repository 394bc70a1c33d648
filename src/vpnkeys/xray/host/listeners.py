"""The processes that listen on TCP ports of this host, as far as /proc shows them to us."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from vpnkeys.xray.host.sockets import socket_inodes

_LISTEN = "0A"  # TCP_LISTEN of the kernel's net/tcp_states.h, as /proc/net/tcp shows it
_STATE, _INODE = 3, 9  # its columns (proc(5)); the second is the local address
_PARENT = 1  # the field of /proc/PID/stat, after the name in parentheses and the state


class Listener(NamedTuple):
    """A process that listens; pid 0 where /proc does not show it to us."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else self.name


UNKNOWN = Listener(0, "a program of another user")


def listeners() -> Mapping[int, frozenset[Listener]]:
    """Return the listening processes by port.

    One that has only inherited a socket is left out: between its fork and its exec a child has all that its parent has.
    """
    owners = _owners()
    found: dict[int, set[Listener]] = defaultdict(set)
    for port, inode in listening():
        parents = owners.get(inode, {UNKNOWN: 0})
        pids = {owner.pid for owner in parents}
        found[port] |= {owner for owner, parent in parents.items() if parent not in pids or not parent}
    return {port: frozenset(found_there) for port, found_there in found.items()}


def listening() -> Iterator[tuple[int, int]]:
    """Yield the port of each listening socket, and its inode."""
    for table in ("tcp", "tcp6"):
        yield from _listening(Path("/proc/net") / table)


def _listening(table: Path) -> Iterator[tuple[int, int]]:
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return  # no such protocol on this host
    for line in lines:
        columns = line.split()
        if columns[_STATE] == _LISTEN:
            # The port is hexadecimal, the inode decimal.
            yield int(columns[1].rpartition(":")[2], 16), int(columns[_INODE])


def _owners() -> dict[int, dict[Listener, int]]:
    """Return processes, each with its parent's id, by the inodes of their sockets."""
    owners: dict[int, dict[Listener, int]] = defaultdict(dict)
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            listener = Listener(int(process.name), (process / "comm").read_text(errors="replace").strip())
            parent = int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[_PARENT])
            inodes = socket_inodes(listener.pid)
        except OSError:
            continue  # not ours to read, or it has ended meanwhile
        for inode in inodes:
            owners[inode][listener] = parent
    return owners
