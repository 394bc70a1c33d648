"""The figures of a running server for monitoring systems, read at each request."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Protocol

from cryptography import x509

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import NOTHING, Bytes, Tally, sum_of
from vpnkeys.files import RESERVE_BYTES, free_bytes, has_reserve
from vpnkeys.interfaces import Clock, Store
from vpnkeys.ops.address import address_fault
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.service.drift import DriftWatch
from vpnkeys.service.health.checks import ConnectionFacts, HostFacts
from vpnkeys.service.health.vitals import NodeVitals, Vitals
from vpnkeys.service.nodes.nodes import NodeReport
from vpnkeys.settings import Settings
from vpnkeys.store.files.certificate import CertificateFiles, refuses_start
from vpnkeys.store.files.secrets import unfit_secrets
from vpnkeys.worker import Workers
from vpnkeys.xray.host.connections import ConnectionWatch


@dataclass(slots=True)
class Odometer:
    """The bytes of each node since the first reading, by its id: numbers that never fall.

    Prometheus takes a counter that falls for one that restarted at zero, and the database's own fall where it was put
    back to what it was. So these start at zero with each server and add the growth since the last reading.
    """

    by_node: dict[int, Bytes] = field(default_factory=dict, init=False)
    _seen: Mapping[int, Bytes] | None = field(default=None, init=False)

    def look(self, carried: Mapping[int, Bytes]) -> None:
        """Add the growth since the last reading. What a node has carried that was not there is new."""
        before = carried if self._seen is None else self._seen
        for node_id, now in carried.items():
            then, known = before.get(node_id, NOTHING), self.by_node.get(node_id, NOTHING)
            more = max(0, now.up - then.up), max(0, now.down - then.down)
            self.by_node[node_id] = Bytes(known.up + more[0], known.down + more[1])
        self._seen = carried

    @property
    def total(self) -> Bytes:
        """What has passed on all nodes."""
        return sum_of(self.by_node.values())


@dataclass(frozen=True, slots=True)
class _Stored:
    """The keys and totals that the database holds."""

    keys: tuple[Key, ...]
    by_key: Mapping[str, Bytes]
    tally: Tally


class Restarted(Protocol):
    """A process that its supervisor restarts when it ends."""

    @property
    def restarts(self) -> int:
        """The number of restarts."""
        ...


@dataclass(slots=True)
class Monitor:
    """Reads the figures of one server, and counts its traffic from now on."""

    process: Restarted
    backups: DailyBackup
    certificate: CertificateFiles
    drift: DriftWatch
    workers: Workers
    connections: ConnectionWatch
    clock: Clock
    problems: Callable[[], tuple[str, ...]] = tuple
    nodes: Callable[[], tuple[NodeReport, ...]] = tuple
    _lock: Lock = field(default_factory=Lock, init=False)  # two readings at once would add the same bytes twice
    _odometer: Odometer = field(default_factory=Odometer, init=False)
    _gaps: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Read the totals once: bytes counted before this server started are not part of its traffic."""
        with suppress(Unavailable):
            self._add_up(self.drift.reconciler.store)

    def look(self) -> Vitals:
        """Return the figures of this moment. It waits for Xray for at most a second."""
        node, now = self.drift.reconciler.node, self.clock.now()
        stored = self._look_at_store()
        sampled_at = stored.tally.sampled_at if stored else None
        return Vitals(
            is_database_up=stored is not None,
            is_xray_up=node.is_up(),
            xray_restarts=self.process.restarts,
            keys=_by_status(stored.keys) if stored else None,
            traffic=self._odometer.total,
            traffic_by_key=_by_id(stored) if stored else {},
            gaps=self._gaps if stored else None,
            sampling_lag_s=(now - sampled_at).total_seconds() if sampled_at else None,
            drift=self.drift.last(),
            targets={seen.server_name: seen.is_usable for seen in node.targets_seen()},
            names_ready=len(node.ready_names()),
            backup_age_s=_backup_age_s(self.backups, now),
            certificate_expires_in_s=_certificate_expires_in_s(self.certificate, now),
            workers=self.workers.statuses(),
            problems=self.problems(),
            connections=self.connections.open,
            connections_refused=self.connections.bounds.refused(),
            silent_ended=self.connections.ended,
            relayed=self.connections.relayed,
            xray_descriptors=self.connections.descriptors,
            nodes=self._nodes(now) if stored else (),
        )

    def _nodes(self, now: datetime) -> tuple[NodeVitals, ...]:
        try:
            return tuple(
                _vitals_of(node, self._odometer.by_node.get(node.record.ref.id, NOTHING), now) for node in self.nodes()
            )
        except Unavailable:
            return ()

    def _look_at_store(self) -> _Stored | None:
        """Return what the database holds; None while it does not answer."""
        store = self.drift.reconciler.store
        try:
            return _Stored(store.keys(), store.counted_by_key(), self._add_up(store))
        except Unavailable:
            return None

    def _add_up(self, store: Store) -> Tally:
        """Add what has passed since the last reading."""
        with self._lock:
            tally = store.tally()
            self._odometer.look(tally.by_node)
            # An Xray taken for dead may turn out to run on, which removes its gap; a counter must not fall.
            self._gaps = max(self._gaps, tally.gaps)
            return tally


def _vitals_of(node: NodeReport, traffic: Bytes, now: datetime) -> NodeVitals:
    is_local = node.record.ref.id == LOCAL.id
    return NodeVitals(
        name=node.record.ref.name,
        group=node.record.group,
        state=str(node.state),
        keys=node.keys,
        places=node.places,
        traffic=traffic,
        failed=len(node.failed),
        lag_s=None if is_local else node.following.lag_s,
        seen_age_s=None if is_local or node.seen_at is None else (now - node.seen_at).total_seconds(),
        cpu_share=node.host.cpu_share,
        clock_ahead_s=None if is_local else node.host.clock_ahead_s,
        versions=None if is_local else (node.version, node.xray_version),
    )


def _by_status(keys: tuple[Key, ...]) -> dict[str, int]:
    statuses = [key.status for key in keys]
    return {status.value: statuses.count(status) for status in Status}


def _by_id(stored: _Stored) -> dict[str, Bytes]:
    return {key.id: stored.by_key.get(key.account, NOTHING) for key in stored.keys}


def host_facts(
    settings: Settings,
    backups: DailyBackup,
    certificate: CertificateFiles,
    clock: Clock,
    renewal_fault: Callable[[], str],
) -> HostFacts:
    """Return what this host says of its disk, secrets, backups, certificate and address. Raises OSError."""
    now, data_dir = clock.now(), settings.data_dir
    return HostFacts(
        free_bytes=free_bytes(data_dir) - (0 if has_reserve(data_dir) else RESERVE_BYTES),
        is_writable=os.access(data_dir, os.W_OK),
        backup_age_s=_backup_age_s(backups, now),
        certificate_expires_in_s=_certificate_expires_in_s(certificate, now),
        certificate_lifetime_s=_lifetime_s(certificate),
        address_fault=address_fault(settings),
        secrets_missing=unfit_secrets(data_dir, is_api_key_given=settings.api_key is not None),
        renewal_fault=renewal_fault(),
        is_certificate_unfit=(settings.tls_cert is not None or not settings.domain) and refuses_start(certificate),
    )


def connection_facts(watch: ConnectionWatch) -> ConnectionFacts:
    """Return what the last look at the connections to the keys' ports found."""
    bounds = watch.bounds
    is_open = any(bounds.most) and not bounds.is_kept
    return ConnectionFacts(
        unbounded="surplus connections are ended every few seconds instead" if is_open else "",
        descriptors=watch.descriptors,
        tracked=_tracked() if bounds.is_kept else None,
    )


def _tracked() -> tuple[int, int] | None:
    directory = Path("/proc/sys/net/netfilter")
    try:
        used, limit = (int((directory / f"nf_conntrack_{name}").read_text("ascii")) for name in ("count", "max"))
    except (OSError, ValueError):
        return None
    return used, limit


def _backup_age_s(backups: DailyBackup, now: datetime) -> float | None:
    newest = next(iter(backups.files()), None)
    return None if newest is None else (now - newest.created_at).total_seconds()


def certificate_expires_at(certificate: CertificateFiles) -> datetime | None:
    """Return when the served certificate expires, UTC without an offset; None when it cannot be read."""
    served = _served(certificate)
    return None if served is None else served.not_valid_after_utc.replace(tzinfo=None)


def _certificate_expires_in_s(certificate: CertificateFiles, now: datetime) -> float | None:
    end = certificate_expires_at(certificate)
    return None if end is None else (end - now).total_seconds()


def _lifetime_s(certificate: CertificateFiles) -> float | None:
    served = _served(certificate)
    return None if served is None else (served.not_valid_after_utc - served.not_valid_before_utc).total_seconds()


def _served(certificate: CertificateFiles) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(certificate.cert.read_bytes())
    except (OSError, ValueError):
        return None
