"""Checks that REALITY targets offer TLS 1.3, h2 and a certificate for the server name, in records that Xray can use.

REALITY uses the target's own handshake (TLS 1.3 only) for its clients, and forwards every other connection to the
target, where the certificate of another site would expose the server.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from cryptography import x509

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.target import TargetReport
from vpnkeys.files import CaUnfit, load_ca
from vpnkeys.worker import Job, Worker
from vpnkeys.xray.probe.flight import X25519MLKEM768, FlightUnfit, check_flight, check_target, knows_group
from vpnkeys.xray.probe.resolver import Address, places_of

_log = logging.getLogger(__name__)

_TIMEOUT_S = 4.0
_ASK_EVERY_S = 8.0  # and the answer has _TIMEOUT_S: what does not answer is known within 15 s
_LOOK_EVERY_S = 60.0
_LOOK_AGAIN_AFTER_S = 5.0
_THREADS = 8
_JOB = Job(
    name="target-watch",
    failing="targets could not be checked",
    every_s=_ASK_EVERY_S,
    back_off_s=(_LOOK_AGAIN_AFTER_S, _LOOK_EVERY_S),
    late_after_s=_LOOK_EVERY_S,
    stop_within_s=0.2,  # it may wait for a target for seconds, and has nothing to close
)


def look_at(server_name: str, target: str, ca_file: Path | None = None) -> TargetReport:
    """Do a TLS handshake with a target as a browser would; return the report. Never raises for a bad target."""
    began = time.monotonic()
    try:
        context = _tls_context(ca_file)
    except CaUnfit as error:
        return TargetReport(server_name, target, problems=(f"VPNKEYS_XRAY_CA_FILE: {error}; put it back",))
    try:
        addresses = places_of(target, _TIMEOUT_S)
        trust_warning = ""
        try:
            connection = _shake_hands(addresses, server_name, context)
        except ssl.SSLCertVerificationError as error:
            trust_warning = f"{target}: this host does not trust its certificate ({error.verify_message})"
            connection = _shake_hands(addresses, server_name, _unverified_context())
    except (OSError, ValueError) as error:
        return TargetReport(server_name, target, problems=(failure_of(target, error),))
    with connection:
        took_s = time.monotonic() - began
        peer = connection.getpeername()[:2]
        problems = _problems(connection, server_name, target)
    problems = problems or _flight_problems(peer, server_name, target)
    warnings = [trust_warning] if trust_warning and not problems else []
    if not problems and not knows_group(peer, server_name, X25519MLKEM768, _TIMEOUT_S):
        warnings.append(f"{target}: no X25519MLKEM768; browsers use it, so that its absence may stand out")
    return TargetReport(server_name, target, tuple(problems), tuple(warnings), took_s, peer)


def _shake_hands(addresses: Iterable[Address], server_name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection to the first of some addresses that takes one. Raises OSError."""
    raw = _connected(addresses)
    try:
        return context.wrap_socket(raw, server_hostname=server_name)
    except BaseException:
        raw.close()
        raise


def _connected(addresses: Iterable[Address]) -> socket.socket:
    failed = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection(address, timeout=_TIMEOUT_S)
        except OSError as error:
            failed = error
    raise failed


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that speaks as a browser does. Raises CaUnfit."""
    context = ssl.create_default_context() if ca_file is None else load_ca(ca_file)
    # The name is checked apart from the chain, so that the report says which of the two is wrong.
    context.check_hostname = False
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _unverified_context() -> ssl.SSLContext:
    context = _tls_context(None)
    context.verify_mode = ssl.CERT_NONE
    return context


def _problems(connection: ssl.SSLSocket, server_name: str, target: str) -> list[str]:
    problems = []
    if connection.version() != "TLSv1.3":
        problems.append(f"{target} answers {connection.version()}, REALITY needs TLS 1.3; choose another server name")
    if connection.selected_alpn_protocol() != "h2":
        problems.append(f"{target} does not speak h2 (HTTP/2); choose another server name")
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None or not covers(x509.load_der_x509_certificate(certificate), server_name):
        problems.append(
            f"{target} has no certificate for {server_name}; choose a name that is the target's own, "
            "or leave VPNKEYS_REALITY_TARGET empty"
        )
    return problems


def _flight_problems(address: Address, server_name: str, target: str) -> list[str]:
    """Return the problem that REALITY has with the target's first answer, if any."""
    try:
        check_flight(address, server_name, _TIMEOUT_S)
    except (OSError, FlightUnfit) as error:
        return [failure_of(target, error)]
    return []


def covers(certificate: x509.Certificate, server_name: str) -> bool:
    """Return whether a certificate covers a name; a wildcard is one whole leftmost label (RFC 6125, 6.4.3)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    _, _, parent = server_name.partition(".")
    return any(name.lower() in {server_name, f"*.{parent}"} for name in names.get_values_for_type(x509.DNSName))


def failure_of(target: str, error: OSError | ValueError) -> str:
    """Return why a handshake failed, and what to do. SSLError, gaierror and TimeoutError are OSErrors."""
    if isinstance(error, FlightUnfit):
        return f"{target} {error}; choose another server name"
    if isinstance(error, ssl.SSLError):
        return f"{target} does not complete a TLS handshake ({error.reason or error}); choose another server name"
    if isinstance(error, socket.gaierror):
        return f"{target} cannot be resolved; check the name, and this server's DNS"
    if isinstance(error, TimeoutError):
        return f"{target} does not answer in time; check that this server reaches it"
    return f"{target} cannot be reached ({error}); check that this server reaches it"


def problem_of_door(door: Door) -> str:
    """Return why REALITY cannot use the target of a door for its first server name; "" when it can."""
    try:
        places = places_of(door.target, _TIMEOUT_S)
        check_target(door.target, door.server_names[0], places[0], _TIMEOUT_S)
    except (OSError, ValueError) as error:
        reason = failure_of(door.target, error)
    except OverflowError:
        reason = failure_of(door.target, OSError("there is no such port"))
    else:
        return ""
    return reason.partition(";")[0]  # without what to do where keys have the name


@dataclass(slots=True)
class TargetWatch:
    """Checks the targets of all server names every minute, every five seconds while one has problems.

    Between two checks it asks each of them for one answer every eight seconds; without a fit one all are checked.

    `in_use` returns the names of active keys, among which may be imported ones and some that were configured once.
    `on_better` is called when a target has become usable. `reports`, by server name, and `usable`, the names whose
    targets are, are of the latest check or answer. They are replaced as a whole, so that any thread may read them.
    `door_problems`, by tag, say why REALITY cannot use the target of a door, as of the latest check.
    """

    ca_file: Path | None
    site: Callable[[], ServerIdentity]
    in_use: Callable[[], Collection[str]]
    on_better: Callable[[], None]
    worker: Worker = field(init=False)
    reports: Mapping[str, TargetReport] = field(default_factory=dict, init=False)
    usable: frozenset[str] = field(default=frozenset(), init=False)
    door_problems: Mapping[str, str] = field(default_factory=dict, init=False)
    _look_at: float = field(default=0.0, init=False)
    _logged: set[str] = field(default_factory=set, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        """Check nothing before the worker starts."""
        self.worker = Worker(_JOB, self._ask_or_look)

    def look(self) -> tuple[TargetReport, ...]:
        """Check all targets now; return their reports."""
        site = self.site()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="target") as pool:
            found = pool.map(lambda name: look_at(name, site.target(name), self.ca_file), self._names())
            at_doors = pool.map(problem_of_door, site.doors)
            reports = tuple(found)
            self.door_problems = {one.tag: why for one, why in zip(site.doors, at_doors, strict=True) if why}
        with self._lock:
            before = self.usable
            self.reports = {report.server_name: report for report in reports}
            self.usable = frozenset(report.server_name for report in reports if report.is_usable)
        if self.usable - before:
            self.on_better()
        return reports

    def report(self, server_name: str) -> TargetReport | None:
        """Return the latest report of a server name's target; None before the first check."""
        return self.reports.get(server_name)

    def seen(self) -> tuple[TargetReport, ...]:
        """Return the latest reports of all targets."""
        return tuple(self.reports.values())

    def ask_all(self) -> bool:
        """Return whether all targets answer as REALITY needs; the report of one that does not is replaced."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="target") as pool:
            return all([*pool.map(self._still_answers, self.seen())])

    def _still_answers(self, report: TargetReport) -> bool:
        if report.address is None:
            return False
        try:
            check_target(report.target, report.server_name, report.address, _TIMEOUT_S)
        except (OSError, FlightUnfit) as error:
            problem = failure_of(report.target, error)
            with self._lock:  # unless a check has ended meanwhile, which says more
                if self.reports.get(report.server_name) is report:
                    self.reports = {**self.reports, report.server_name: replace(report, problems=(problem,))}
                    self.usable -= {report.server_name}
            return False
        return True

    def _names(self) -> tuple[str, ...]:
        """Return the configured names, then the other names that keys have."""
        configured = self.site().server_names
        try:
            others = set(self.in_use()).difference(configured)
        except Unavailable:
            others = set()
        return (*configured, *sorted(others))

    def _ask_or_look(self) -> float:
        if time.monotonic() < self._look_at and self.ask_all():
            return _ASK_EVERY_S
        problems = {problem for report in self.look() for problem in report.problems}
        for problem in sorted(problems - self._logged):
            _log.warning("%s", problem)
        self._logged = problems
        self._look_at = 0.0 if problems else time.monotonic() + _LOOK_EVERY_S
        return _LOOK_AGAIN_AFTER_S if problems else _ASK_EVERY_S
