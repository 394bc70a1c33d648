"""Finds problems in facts that are at hand; nothing here waits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from vpnkeys.domain.key import Key
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
        "daily-backup": Code.BACKUP_LATE,
    }
)

_MIB = 2**20
_LOW_BYTES, _FULL_BYTES = 16 * _MIB, FULL_BELOW_BYTES
_DAY_S = 86400.0
_CERTIFICATE_S = 14 * _DAY_S
_BACKUP_S = 2 * _DAY_S + 7200.0  # a day, and the retries of a whole day after it


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What this host says of itself; None where it cannot be read or does not exist.

    `free_bytes` leaves out the space of the reserve, whether it is kept or was given up.
    """

    free_bytes: int | None = None
    backup_age_s: float | None = None
    certificate_expires_in_s: float | None = None
    is_writable: bool = True
    address_fault: str = ""


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """What is known of config.json.

    `is_unfit`: Xray refuses it. `is_left_out`: the running Xray was started without the operator's sections.
    `set_aside` are the names of copies, `reserved_ports` are those of our range that the operator's inbounds have.
    """

    is_json: bool = True
    is_unfit: bool = False
    has_comments: bool = False
    is_left_out: bool = False
    set_aside: tuple[str, ...] = ()
    reserved_ports: frozenset[int] = frozenset()


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
    """Yield the problems of disk space, certificate, backups and address."""
    free, expires, age = facts.free_bytes, facts.certificate_expires_in_s, facts.backup_age_s
    if not facts.is_writable:
        yield Code.DISK_READ_ONLY, ""
    if free is not None and free < _LOW_BYTES:
        yield (Code.DISK_FULL if free < _FULL_BYTES else Code.DISK_LOW), ""
    if expires is not None and expires < _CERTIFICATE_S:
        yield (Code.CERTIFICATE_EXPIRED if expires <= 0 else Code.CERTIFICATE_EXPIRING), ""
    if age is not None and age > _BACKUP_S:
        yield Code.BACKUP_LATE, ""
    if facts.address_fault:
        yield Code.SERVER_ADDRESS, facts.address_fault


def dead_targets(keys: Iterable[Key], targets: Iterable[TargetReport]) -> Iterator[tuple[Code, str]]:
    """Yield the problem that keys have server names by which no client gets in."""
    dead = [len(use.affected) for use in uses(targets, keys) if use.affected]
    if dead:
        yield Code.TARGET_DOWN, f"active keys: {sum(dead)}, server names: {len(dead)}"
