"""Finds problems in facts that are at hand; nothing here waits."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vpnkeys.domain.key import Key
from vpnkeys.domain.reached.validity import Validity, validity
from vpnkeys.domain.target import TargetReport, uses
from vpnkeys.files import FULL_BELOW_BYTES
from vpnkeys.service.health.codes import Code
from vpnkeys.worker import WorkerStatus

ASK_XRAY, WRITE_DATABASE = "ask-xray", "write-database"

_OF_WORKER = MappingProxyType(
    {
        ASK_XRAY: Code.XRAY_NOT_ANSWERING,
        WRITE_DATABASE: Code.DATABASE_UNWRITABLE,
        "repairer": Code.REPAIR_LATE,
        "guard-table": Code.GUARD_NOT_KEPT,
        "speed-table": Code.SPEED_LIMITS_NOT_KEPT,
        "bounds-table": Code.CONNECTIONS_UNBOUNDED,
        "daily-backup": Code.BACKUP_LATE,
    }
)

_MIB = 2**20
_LOW_BYTES, _FULL_BYTES = 16 * _MIB, FULL_BELOW_BYTES
_NEARLY_ALL = 0.8
_DAY_S = 86400.0
_BACKUP_S = 2 * _DAY_S + 7200.0  # a day, and the retries of a whole day after it


_OF_VALIDITY = MappingProxyType(
    {
        Validity.EXPIRING: Code.CERTIFICATE_EXPIRING,
        Validity.EXPIRED: Code.CERTIFICATE_EXPIRED,
        Validity.NOT_YET: Code.CERTIFICATE_NOT_YET_VALID,
    }
)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What this host says of itself; None where it cannot be read or does not exist.

    `free_bytes` leaves out the space of the reserve, whether it is kept or was given up. `secrets_missing` are names of
    files, those of damaged ones too.
    """

    free_bytes: int | None = None
    backup_age_s: float | None = None
    certificate_expires_in_s: float | None = None
    certificate_lifetime_s: float | None = None
    is_writable: bool = True
    address_fault: str = ""
    secrets_missing: tuple[str, ...] = ()
    renewal_fault: str = ""
    is_certificate_unfit: bool = False


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """What is known of config.json.

    `is_unfit`: Xray refuses it. `is_left_out`: the running Xray was started without the operator's sections, of which
    `dns` may be one (`has_own_dns`).
    `set_aside` are the names of copies, `reserved_ports` are those of our range that the operator's inbounds have.
    """

    is_json: bool = True
    is_unfit: bool = False
    has_comments: bool = False
    is_left_out: bool = False
    has_own_dns: bool = False
    set_aside: tuple[str, ...] = ()
    reserved_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What is known of connections to the keys' ports. Numbers are (used, limit), or None where they are unknown.

    `unbounded` says why a bound that is wanted is not kept by the kernel. `descriptors` are Xray's, `tracked` are the
    kernel's entries of connection tracking.
    """

    unbounded: str = ""
    descriptors: tuple[int, int] | None = None
    tracked: tuple[int, int] | None = None


def of_connections(facts: ConnectionFacts) -> Iterator[tuple[Code, str]]:
    """Yield the problems of connections to the keys' ports."""
    if facts.unbounded:
        yield Code.CONNECTIONS_UNBOUNDED, facts.unbounded
    for code, use in ((Code.DESCRIPTORS_LOW, facts.descriptors), (Code.CONNTRACK_LOW, facts.tracked)):
        if use is not None and use[0] > _NEARLY_ALL * use[1]:
            yield code, f"{use[0]} of {use[1]}"


def in_config(facts: ConfigFacts) -> Iterator[tuple[Code, str]]:
    """Yield the problems of config.json."""
    if facts.is_unfit:
        yield Code.CONFIG_UNFIT, ""
    if facts.is_left_out:
        yield Code.CONFIG_LEFT_OUT, ""
    if facts.has_comments:
        yield Code.CONFIG_COMMENTS, ""
    if facts.set_aside:
        yield Code.CONFIG_SET_ASIDE, ", ".join(facts.set_aside)
    if facts.reserved_ports:
        yield Code.PORTS_RESERVED, f"{len(facts.reserved_ports)} port(s)"


def late_workers(statuses: Iterable[WorkerStatus]) -> Iterator[tuple[Code, str]]:
    """Yield the problem of each worker that is overdue, with the names of those that have no code of their own."""
    late = [status.name for status in statuses if status.is_late]
    yield from ((_OF_WORKER[name], "") for name in late if name in _OF_WORKER)
    others = sorted(name for name in late if name not in _OF_WORKER)
    if others:
        yield Code.WORKER_LATE, ", ".join(others)


def on_host(facts: HostFacts) -> Iterator[tuple[Code, str]]:
    """Yield the problems of disk space, secrets, certificate, backups and address."""
    free, expires, age = facts.free_bytes, facts.certificate_expires_in_s, facts.backup_age_s
    if not facts.is_writable:
        yield Code.DISK_READ_ONLY, ""
    if free is not None and free < _LOW_BYTES:
        yield (Code.DISK_FULL if free < _FULL_BYTES else Code.DISK_LOW), ""
    if facts.secrets_missing:
        yield Code.SECRET_MISSING, ", ".join(facts.secrets_missing)
    if expires is not None and facts.certificate_lifetime_s is not None:
        state = validity(expires, facts.certificate_lifetime_s)
        if state in _OF_VALIDITY:
            yield _OF_VALIDITY[state], ""
    if facts.is_certificate_unfit:
        yield Code.CERTIFICATE_UNFIT, ""
    if facts.renewal_fault:
        yield Code.CERTIFICATE_RENEWAL, facts.renewal_fault
    if age is not None and age > _BACKUP_S:
        yield Code.BACKUP_LATE, ""
    if facts.address_fault:
        yield Code.SERVER_ADDRESS, facts.address_fault


def closed_doors(taken: Collection[int], closed: Mapping[int, str]) -> Iterator[tuple[Code, str]]:
    """Yield the problem that doors are closed: by the port that another program has, or for a reason."""
    found = {**dict.fromkeys(taken, ""), **{port: f": {why}" for port, why in closed.items()}}
    if found:
        yield Code.DOOR_CLOSED, "; ".join(f"port {port}{why}" for port, why in sorted(found.items()))


def dead_targets(keys: Iterable[Key], targets: Iterable[TargetReport], doors: int) -> Iterator[tuple[Code, str]]:
    """Yield the problem that keys have server names, or doors targets, by which no client gets in."""
    dead = [len(use.affected) for use in uses(targets, keys) if use.affected]
    found = [f"active keys: {sum(dead)}, server names: {len(dead)}"] if dead else []
    found += [f"doors: {doors}"] if doors else []
    if found:
        yield Code.TARGET_DOWN, ", ".join(found)
