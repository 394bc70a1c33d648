"""The check of the API's and the keys' ports: our processes listen on them, and no others do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import active_ports
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.host.listeners import Listener, listeners

SYNC = "vpnkeys sync"
_ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class PortFacts:
    """The expected listeners (pid None: the process does not run), and the actual ones by port."""

    api_port: int
    server_pid: int | None
    key_ports: tuple[int, ...]
    xray_pid: int | None
    pool: PortRange
    server_address: str
    listening: Mapping[int, frozenset[Listener]]
    restart: str


def look(installation: Installation) -> PortFacts:
    """Return the keys' ports from the server, or from the database while it does not run; sockets from the kernel."""
    if installation.server is None:
        ports = active_ports(installation)
    else:
        keys = installation.server.keys.list(node=LOCAL.name)
        ports = tuple(key.port for key in keys if (key.status or _ACTIVE) == _ACTIVE)
    settings = installation.settings
    return PortFacts(
        api_port=settings.listen.port,
        server_pid=installation.pid,
        key_ports=ports,
        xray_pid=installation.xray_pid,
        pool=settings.port_range,
        server_address=settings.server_address,
        listening=listeners(),
        restart=installation.restart,
    )


def judge(facts: PortFacts) -> Iterable[Verdict]:
    """Report each port that another program holds or that nothing listens on."""
    faults = [
        *_of_one("the API's port", facts.api_port, facts.server_pid, facts, facts.restart),
        *(fault for port in facts.key_ports for fault in _of_one("a key's port", port, facts.xray_pid, facts, SYNC)),
    ]
    outside = [port for port in facts.key_ports if port not in facts.pool]
    if outside:
        faults.append(
            warn(f"keys have ports outside VPNKEYS_PORT_RANGE ({facts.pool}): {_some(outside)}; open them in firewalls")
        )
    yield from faults
    if not faults and facts.server_pid is None:
        yield ok(f"no other program listens on the API's port or on the {len(facts.key_ports)} ports of keys")
    elif not faults:
        yield ok(
            f"the server and Xray listen on the API's port and on {len(facts.key_ports)} ports of keys. Whether other "
            "machines reach them cannot be checked from here; on another machine try: "
            f"nc -vz {facts.server_address} {min(facts.key_ports, default=facts.api_port)}"
        )


def _of_one(what: str, port: int, holder: int | None, facts: PortFacts, mend: str) -> Iterable[Verdict]:
    there = facts.listening.get(port, frozenset())
    others = sorted(who for who in there if who.pid != holder)
    if others:
        known = [str(who.pid) for who in others if who.pid]
        # Without a pid, root has to find the program first: /proc hides those of other users.
        stop = f"kill {' '.join(known)}" if known else f"ss -ltnp sport = :{port}"
        yield fail(f"{what}, {port}, is taken by {', '.join(map(str, others))}; stop that program or move it", stop)
    elif holder is not None and not there:
        yield fail(f"nothing listens on {what}, {port}", mend)


def _some(ports: list[int], most: int = 5) -> str:
    more = f" and {len(ports) - most} more" if len(ports) > most else ""
    return ", ".join(map(str, ports[:most])) + more
