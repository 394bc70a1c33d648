"""Reports for the status endpoints how database, config.json and the running Xray compare, read anew each time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpnkeys.domain.errors import ConfigRefused
from vpnkeys.domain.inbound import WARM_TAG_PREFIX, AnyInbound, ForeignInbound, Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.nodes.door import is_door
from vpnkeys.domain.plan import Observed, Plan, compare, differences, file_is_right, plan, running_drift, uuids_of
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import pad_short_id
from vpnkeys.domain.target import TargetUse, uses
from vpnkeys.service.reconcile import Reconciler

_TRIES = 3


@dataclass(frozen=True, slots=True)
class ShortIdMismatch:
    """Holds a key whose short id in config.json is not the one in the database."""

    uuid: str
    name: str
    db_short_id: str
    config_short_id: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Holds how config.json or the running Xray differs from the database, by key UUID (by tag where there is none).

    `different` names the settings that differ.
    """

    synced: bool
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    different: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Holds the comparison of database, config.json and running Xray.

    `config_uuids` are of all VLESS inbounds of config.json, `config_keys` says how many are of ours.
    `runtime` is None while Xray does not answer; `problem` says why config.json cannot be read, empty if it can.
    """

    key_uuids: tuple[str, ...]
    config_uuids: tuple[str, ...]
    config_keys: int
    file: Comparison
    short_id_mismatches: tuple[ShortIdMismatch, ...]
    runtime: Comparison | None
    problem: str

    @property
    def uuid_synced(self) -> bool:
        """Return whether config.json lets in exactly the keys of the database."""
        return not self.missing_keys and not self.extra_keys

    @property
    def missing_keys(self) -> tuple[str, ...]:
        """Return the UUIDs that config.json lacks, without inbounds that only test server names, and doors."""
        return _of_keys(self.file.missing)

    @property
    def extra_keys(self) -> tuple[str, ...]:
        """Return what config.json has besides the keys, without such inbounds too."""
        return _of_keys(self.file.extra)


@dataclass(frozen=True, slots=True)
class XrayFileReport:
    """Holds the numbers of config.json. `refusal` is Xray's own error about it, empty when Xray accepts it."""

    total_inbounds: int
    api_inbounds: int
    inbounds: tuple[ForeignInbound, ...]
    refusal: str


def view(reconciler: Reconciler) -> tuple[tuple[Key, ...], Observed]:
    """Return the keys and what the node has of them, with no change between the two. Raises StoreUnavailable.

    A change waits for this only while Xray answers: one that hangs must keep nobody from stopping a key.
    """
    keys, observed, is_steady = _look(reconciler)
    for _ in range(_TRIES - 1):
        if not is_steady:
            keys, observed, is_steady = _look(reconciler)
    if is_steady or observed.running is None:
        return keys, observed
    with reconciler.changing:  # there are changes all the time, and Xray answers, so that this takes milliseconds
        return reconciler.stops.own_keys(), reconciler.node.observe()


def _look(reconciler: Reconciler) -> tuple[tuple[Key, ...], Observed, bool]:
    """Return the keys, what the node has, and whether nothing changed in between."""
    with reconciler.changing:  # waits for a change that is under way, and keeps none waiting
        applied, keys = reconciler.applied, reconciler.stops.own_keys()
    observed = reconciler.node.observe()
    with reconciler.changing:
        return keys, observed, (applied, keys) == (reconciler.applied, reconciler.stops.own_keys())


@dataclass(frozen=True, slots=True)
class Reporter:
    """Compares and reports; changes nothing."""

    reconciler: Reconciler
    pool: PortRange

    def sync(self) -> SyncReport:
        """Compare database, config.json and running Xray now, and return the result. Raises StoreUnavailable."""
        keys, observed = view(self.reconciler)
        desired = self.reconciler.desired(keys)
        active = {key.uuid: key for key in keys if key.status is Status.ACTIVE}
        file = _compare(desired, observed.file.inbounds, synced=file_is_right(desired, observed.file))
        drift = running_drift(desired, observed)
        running = observed.running.inbounds if observed.running else {}
        return SyncReport(
            key_uuids=tuple(active),
            config_uuids=tuple(uuid for inbound in _vless(observed) for uuid in uuids_of(inbound)),
            config_keys=sum(len(uuids_of(one)) for tag, one in observed.file.inbounds.items() if not _is_no_keys(tag)),
            file=file,
            short_id_mismatches=tuple(_short_id_mismatches(active, observed.file.inbounds.values())),
            runtime=None if drift is None else _compare(desired, _ours(running, observed), synced=not drift),
            problem=observed.file.problem,
        )

    def plan(self) -> tuple[Observed, Plan]:
        """Return what is observed, and what bringing it to the database would change."""
        keys, observed = view(self.reconciler)
        todo = plan(self.reconciler.desired(keys), observed)
        return observed, self.reconciler.taken.without_taken(todo, observed)

    def targets(self) -> tuple[TargetUse, ...]:
        """Return what was last found of the REALITY targets, each with its active keys. Raises StoreUnavailable."""
        return uses(self.reconciler.node.targets_seen(), self.reconciler.stops.own_keys())

    def xray_file(self) -> XrayFileReport:
        """Return the numbers of config.json, and what `xray run -test` says of it."""
        observed = self.reconciler.node.observe()
        try:
            self.reconciler.host.check_file()
            refusal = ""
        except ConfigRefused as error:
            refusal = str(error)
        file = observed.file
        return XrayFileReport(
            total_inbounds=file.api_inbounds + len(file.inbounds) + len(file.foreign),
            api_inbounds=file.api_inbounds,
            inbounds=tuple(_vless(observed)),
            refusal=file.problem or refusal,
        )

    def inbounds(self) -> tuple[ForeignInbound, ...]:
        """Return the VLESS inbounds of config.json, without those that only test server names."""
        return tuple(_vless(self.reconciler.node.observe()))

    def port_issues(self) -> tuple[str, ...]:
        """Return what is wrong with ports, a sentence each, found by looking at the host's sockets."""
        keys, observed = view(self.reconciler)
        taken, running = self.reconciler.taken, observed.running.inbounds if observed.running else {}
        issues = [*_reserved_issues(observed.file.reserved), *_file_issues(keys, observed, self.pool)]
        issues += [
            f"port {door.port} of {door.tag} is taken by another program"
            for door in self.reconciler.site.doors
            if door.port in taken.ports | taken.beside
        ]
        issues += [f"{tag} is closed: {why}" for tag, why in self.reconciler.closed_doors.why.items()]
        for key in keys:
            if key.port not in self.pool:
                issues.append(f"port {key.port} of key {key.id} is outside the range {self.pool}")
            if key.port in taken.shared:
                issues.append(f"port {key.port} of key {key.id} belongs to another vpnkeys server on this host as well")
            if key.status is not Status.ACTIVE:
                continue
            # Xray may list an inbound whose port it does not hold, so the socket itself is looked for.
            free = self.reconciler.host.is_free(key.port)
            if free:
                issues.append(f"port {key.port} of key {key.id} is not listening")
            elif observed.running is not None and key.tag not in running:
                issues.append(f"port {key.port} of key {key.id} is taken by another program")
            elif key.port in taken.beside:
                issues.append(
                    f"port {key.port} of key {key.id} is shared: another program gets a part of its connections"
                )
        return tuple(issues)


def _reserved_issues(reserved: Mapping[int, str]) -> Iterable[str]:
    for port, tag in sorted(reserved.items()):
        name = f" {tag}" if tag else ""
        yield f"port {port} belongs to your own inbound{name} in config.json; it stays, and no key gets the port"


def _file_issues(keys: Iterable[Key], observed: Observed, pool: PortRange) -> Iterable[str]:
    """Yield a sentence for each port that config.json or the running Xray use twice or without a key."""
    by_port = {key.port: key for key in keys}
    sides = {
        "config.json": observed.file.inbounds,
        "the running Xray": observed.running.inbounds if observed.running else {},
    }
    for side, inbounds in sides.items():
        # Xray takes two inbounds on one port without an error (SO_REUSEPORT), so that only a look finds them.
        used: dict[int, str] = {}
        for inbound in inbounds.values():
            if inbound.port is None:
                continue
            if inbound.port in used:
                yield f"port {inbound.port} is used twice in {side}: by {used[inbound.port]} and {inbound.tag}"
            used[inbound.port] = inbound.tag
            key = by_port.get(inbound.port)
            if inbound.port in pool and not is_door(inbound.tag) and (key is None or key.status is not Status.ACTIVE):
                yield f"port {inbound.port} is used in {side} by {inbound.tag} without a key"
            elif key is not None and key.tag != inbound.tag:
                yield f"port {inbound.port} of key {key.id} is used in {side} by {inbound.tag}"


def _compare(desired: tuple[Inbound, ...], actual: Mapping[str, AnyInbound], *, synced: bool) -> Comparison:
    wanted = {inbound.tag: inbound for inbound in desired}
    drift = compare(desired, actual)
    # A dict, as a set with an order. Xray lets in every UUID of an inbound, so one that is not the key's is reported.
    unknown = {
        uuid: None for tag in drift.different for uuid in uuids_of(actual[tag]) if uuid not in uuids_of(wanted[tag])
    }
    return Comparison(
        synced=synced,
        missing=tuple(
            dict.fromkeys(
                [_name(wanted[tag]) for tag in drift.missing]
                + [_name(wanted[tag]) for tag in drift.different if not _lets_in(actual[tag], wanted[tag])]
            )
        ),
        extra=tuple(dict.fromkeys([*(_name(actual[tag]) for tag in drift.extra), *unknown])),
        different={_name(wanted[tag]): differences(wanted[tag], actual[tag]) for tag in drift.different},
    )


def _lets_in(actual: AnyInbound, wanted: Inbound) -> bool:
    return set(uuids_of(wanted)) <= set(uuids_of(actual))


def _name(inbound: AnyInbound) -> str:
    """Return the name of an inbound in reports: the UUID of its key, or its tag when it has none."""
    uuids = uuids_of(inbound)
    return uuids[0] if uuids and not _is_no_keys(inbound.tag) else inbound.tag


def _of_keys(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not _is_no_keys(name))


def _is_no_keys(tag: str) -> bool:
    return tag.startswith(WARM_TAG_PREFIX) or is_door(tag)


def _ours(running: Mapping[str, AnyInbound], observed: Observed) -> dict[str, AnyInbound]:
    # Inbounds that the operator added to config.json run in the same Xray; they are no drift.
    foreign = {inbound.tag for inbound in observed.file.foreign}
    return {tag: inbound for tag, inbound in running.items() if tag not in foreign}


def _vless(observed: Observed) -> Iterable[ForeignInbound]:
    """Yield the VLESS inbounds of config.json, except doors, and the `warm-` ones, which only our prober reaches."""
    for inbound in (*observed.file.inbounds.values(), *observed.file.foreign):
        shown = _summary(inbound)
        if shown.protocol == "vless" and not _is_no_keys(shown.tag):
            yield shown


def _summary(inbound: AnyInbound) -> ForeignInbound:
    if isinstance(inbound, ForeignInbound):
        return inbound
    reality = inbound.reality
    return ForeignInbound(
        tag=inbound.tag,
        port=inbound.port,
        protocol="vless",
        uuids=uuids_of(inbound),
        short_ids=reality.short_ids,
        target=reality.target,
        server_names=reality.server_names,
    )


def _short_id_mismatches(active: Mapping[str, Key], inbounds: Iterable[AnyInbound]) -> Iterable[ShortIdMismatch]:
    for inbound in (_summary(one) for one in inbounds if not is_door(one.tag)):
        for uuid in inbound.uuids:
            key = active.get(uuid)
            # The file holds short ids padded with zeros to 16 digits, as REALITY compares them.
            if key is not None and inbound.short_ids != (pad_short_id(key.short_id),):
                yield ShortIdMismatch(uuid, key.name, key.short_id, ",".join(inbound.short_ids))
