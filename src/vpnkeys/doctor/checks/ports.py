"""The ports of the API and of the keys: held by those whose they are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpnkeys.doctor.checks.listeners import Listener, listeners
from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import active_ports
from vpnkeys.domain.portpool import PortRange

SYNC = "vpnkeys sync"
_ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class PortFacts:
    """Which ports should be listened on by whom (None: by nobody now), and who listens on which."""

    api_port: int
    server_pid: int | None
    key_ports: tuple[int, ...]
    xray_pid: int | None
    pool: PortRange
    server_address: str
    listening: Mapping[int, frozenset[Listener]]
    restart: str


def look(place: Installation) -> PortFacts:
    """Keys from the server, or from the database while it does not run; sockets from the kernel."""
    if place.server is None:
        ports = active_ports(place)
    else:
        ports = tuple(key.port for key in place.server.keys.list() if (key.status or _ACTIVE) == _ACTIVE)
    settings = place.settings
    return PortFacts(
        api_port=settings.listen.port,
        server_pid=place.pid,
        key_ports=ports,
        xray_pid=place.xray_pid,
        pool=settings.port_range,
        server_address=settings.server_address,
        listening=listeners(),
        restart=place.restart,
    )


def judge(facts: PortFacts) -> Iterable[Verdict]:
    """Every port by itself."""
    faults = [
        *_of_one("the API's port", facts.api_port, facts.server_pid, facts, facts.restart),
        *(fault for port in facts.key_ports for fault in _of_one("a key's port", port, facts.xray_pid, facts, SYNC)),
    ]
    outside = [port for port in facts.key_ports if port not in facts.pool]
    if outside:
        faults.append(
            warn(f"keys have ports outside VPNKEYS_PORT_RANGE ({facts.pool}): {_some(outside)}; the firewall must know")
        )
    yield from faults
    if not faults and facts.server_pid is None:
        yield ok(f"nobody has taken the API's port or one of {len(facts.key_ports)} ports of keys meanwhile")
    elif not faults:
        yield ok(
            f"the API's port and {len(facts.key_ports)} ports of keys are held by those whose they are. Whether they "
            "are reached from outside cannot be seen from here; on another machine try: "
            f"nc -vz {facts.server_address} {min(facts.key_ports, default=facts.api_port)}"
        )


def _of_one(what: str, port: int, holder: int | None, facts: PortFacts, mend: str) -> Iterable[Verdict]:
    there = facts.listening.get(port, frozenset())
    others = sorted(who for who in there if who.pid != holder)
    if others:
        known = [str(who.pid) for who in others if who.pid]
        stop = f"kill {' '.join(known)}" if known else f"ss -ltnp sport = :{port}"
        yield fail(f"{what}, {port}, is taken by {', '.join(map(str, others))}; stop it, if you can do without", stop)
    elif holder is not None and not there:
        yield fail(f"{what}, {port}, is not listened on", mend)


def _some(ports: list[int], most: int = 5) -> str:
    more = f" and {len(ports) - most} more" if len(ports) > most else ""
    return ", ".join(map(str, ports[:most])) + more
