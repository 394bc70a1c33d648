"""Plans: the steps that make config.json and the running Xray equal to the database.

Inbounds change by a plan alone: changes of keys and repairs apply it, the status endpoints print it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from vpnkeys.domain.inbound import (
    AnyInbound,
    ForeignInbound,
    Inbound,
    Reality,
    ServerIdentity,
    desired_inbounds,
    inbounds_with,
)
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.nodes.door import is_door


class FileState(StrEnum):
    """A file state says whether config.json can be read as a configuration."""

    OK = "ok"
    MISSING = "missing"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class FileView:
    """config.json as it is on disk.

    `inbounds` are those that we manage, by our tags. `foreign` are the operator's own, which stay; `reserved` are the
    ports of our range that they have, with their tags. `base_ok` says whether our other sections (API, routing,
    outbounds, statistics) are right; `problem` describes why the file cannot be read. `has_own_dns`: the operator has a
    `dns` section.
    """

    state: FileState
    inbounds: Mapping[str, AnyInbound]
    foreign: tuple[ForeignInbound, ...] = ()
    base_ok: bool = True
    api_inbounds: int = 0
    problem: str = ""
    reserved: Mapping[int, str] = field(default_factory=dict)
    has_own_dns: bool = False


@dataclass(frozen=True, slots=True)
class RunningView:
    """The running Xray: its inbounds except that of its API, and its epoch, which names one run of its process."""

    inbounds: Mapping[str, AnyInbound]
    epoch: str


@dataclass(frozen=True, slots=True)
class Observed:
    """The observed state. `running` is None while Xray does not answer."""

    file: FileView
    running: RunningView | None


class Listening(NamedTuple):
    """The ports on which the running Xray listens, and those on which another program takes connections from it."""

    own: frozenset[int]
    shared: frozenset[int]


@dataclass(frozen=True, slots=True)
class FileStep:
    """What a change of keys does to a config.json that holds the inbounds of the keys `before`, and no others of keys.

    `gone` are the ports of inbounds that leave it, `come` the inbounds that are new in it. For a file that holds
    something else, iterating gives all our inbounds.
    """

    before: Keys = field(repr=False)
    after: Keys = field(repr=False)
    gone: tuple[int, ...]
    come: tuple[Inbound, ...]
    site: ServerIdentity

    def __iter__(self) -> Iterator[Inbound]:
        """Return all inbounds for config.json after the change."""
        return iter(desired_inbounds(self.after, self.site))


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan is applied in this order: write the file, remove, cut, add, cut users. No inbound is altered in place.

    `file` holds all our inbounds for config.json, or what changes in it; None when the file is right. `remove` are
    tags. `cut` are ports whose open connections must end: they go on after Xray has removed the inbound (measured).
    `cut_users` are ports of doors with the account whose connections to it must end, and no one else's.
    """

    file: tuple[Inbound, ...] | FileStep | None = None
    remove: tuple[str, ...] = ()
    cut: tuple[int, ...] = ()
    add: tuple[Inbound, ...] = ()
    cut_users: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return self.file is not None or bool(self.remove or self.cut or self.add or self.cut_users)


@dataclass(frozen=True, slots=True)
class Drift:
    """A drift lists by tag how a set of inbounds differs from the desired ones."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    different: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.different)


def compare(desired: Iterable[Inbound], actual: Mapping[str, AnyInbound]) -> Drift:
    """Return the tags that `actual` lacks, those that it should not have, and those whose content differs."""
    wanted = {inbound.tag: inbound for inbound in desired}
    return Drift(
        missing=tuple(sorted(wanted.keys() - actual.keys())),
        extra=tuple(sorted(actual.keys() - wanted.keys())),
        different=tuple(sorted(tag for tag in wanted.keys() & actual.keys() if wanted[tag] != actual[tag])),
    )


def differences(wanted: Inbound, actual: AnyInbound) -> tuple[str, ...]:
    """Return the names of config.json's fields in which two inbounds differ; empty when they are equal."""
    seen: dict[str, tuple[object, object]] = {
        "port": (wanted.port, actual.port),
        "clients": (uuids_of(wanted), uuids_of(actual)),
        "target": (wanted.reality.target, _reality(actual).target),
        "serverNames": (wanted.reality.server_names, _reality(actual).server_names),
        "shortIds": (wanted.reality.short_ids, _reality(actual).short_ids),
    }
    if isinstance(actual, Inbound):
        seen["listen"] = (wanted.listen, actual.listen)
        seen["privateKey"] = (wanted.reality.private_key, actual.reality.private_key)
        # Flows are compared for clients on both sides only; missing ones are in "clients" already.
        flows = {client.uuid: client.flow for client in wanted.clients}
        found = {client.uuid: client.flow for client in actual.clients if client.uuid in flows}
        seen["flow"] = ({**flows, **found}, flows)
    names = tuple(sorted(name for name, (one, other) in seen.items() if one != other))
    return names or (() if wanted == actual else ("other settings",))


def _reality(inbound: AnyInbound) -> Reality | ForeignInbound:
    return inbound.reality if isinstance(inbound, Inbound) else inbound


def running_drift(desired: Iterable[Inbound], observed: Observed) -> Drift | None:
    """Return the drift of the running Xray, or None while it does not answer. The operator's inbounds do not count."""
    if observed.running is None:
        return None
    foreign = {inbound.tag for inbound in observed.file.foreign}
    ours = {tag: inbound for tag, inbound in observed.running.inbounds.items() if tag not in foreign}
    return compare(desired, ours)


def file_is_right(desired: Iterable[Inbound], file: FileView) -> bool:
    """Return whether config.json needs no change."""
    return file.state is FileState.OK and file.base_ok and not compare(desired, file.inbounds)


def plan(desired: tuple[Inbound, ...], observed: Observed) -> Plan:
    """Return the shortest plan from the observed to the desired state. Once applied, the next plan is empty."""
    file = None if file_is_right(desired, observed.file) else desired
    drift = running_drift(desired, observed)
    if drift is None or observed.running is None:
        return Plan(file=file)
    running = observed.running.inbounds
    wanted = {inbound.tag: inbound for inbound in desired}
    remove = (*drift.extra, *drift.different)
    doors = [tag for tag in drift.different if _is_same_door(running[tag], wanted[tag])]
    return Plan(
        file=file,
        remove=remove,
        cut=_ports_to_cut([running[tag] for tag in remove if tag not in doors], desired),
        add=tuple(wanted[tag] for tag in (*drift.different, *drift.missing)),
        cut_users=tuple(one for tag in doors for one in _users_to_cut(running[tag], wanted[tag])),
    )


def transition(before: Keys, after: Keys, named: Collection[str], site: ServerIdentity) -> Plan:
    """Return the plan from the inbounds of one set of keys, which are in place now, to those of another.

    Only keys whose ids are in `named` may differ, and only they are compared: no other key has a port of theirs.
    """
    was, wanted = (inbounds_with(named, keys, site) for keys in (before, after))
    if was == wanted:
        return Plan()
    # A missing file makes the plan write it; what it holds now does not matter.
    running = RunningView({inbound.tag: inbound for inbound in was}, epoch="")
    todo = plan(wanted, Observed(FileView(FileState.MISSING, {}), running))
    removed = frozenset(todo.remove)
    gone = tuple(inbound.port for inbound in was if inbound.tag in removed and inbound.port is not None)
    return replace(todo, file=FileStep(before, after, gone, todo.add, site))


def _is_same_door(actual: AnyInbound, wanted: Inbound) -> bool:
    """Return whether an inbound is a door of which only other clients are wanted: all others' links go on."""
    return is_door(wanted.tag) and isinstance(actual, Inbound) and replace(wanted, clients=actual.clients) == actual


def _users_to_cut(actual: AnyInbound, wanted: Inbound) -> Iterator[tuple[int, str]]:
    """Yield the port and the account of each client that a door lets in no more."""
    if not isinstance(actual, Inbound):
        return
    welcome = {client.uuid for client in wanted.clients}
    for client in actual.clients:
        if client.uuid not in welcome and actual.port is not None:
            yield actual.port, client.email


def _ports_to_cut(removed: Iterable[AnyInbound], desired: Iterable[Inbound]) -> tuple[int, ...]:
    """Return the ports of removed inbounds whose connections must end: not those that accept the same links after."""
    entitled = {_access(inbound) for inbound in desired}
    cut = {inbound.port for inbound in removed if _access(inbound) not in entitled}
    return tuple(sorted(port for port in cut if port is not None))


def _access(inbound: AnyInbound) -> tuple[object, ...]:
    """Return the settings of a link that an inbound accepts."""
    reality = _reality(inbound)
    return inbound.port, uuids_of(inbound), reality.short_ids, reality.server_names


def uuids_of(inbound: AnyInbound) -> tuple[str, ...]:
    """Return the VLESS UUIDs that an inbound accepts."""
    return inbound.uuids if isinstance(inbound, ForeignInbound) else tuple(client.uuid for client in inbound.clients)


def speeds_of(keys: Iterable[Key]) -> dict[int, int]:
    """Return the speed limits in Mbit/s by port, also of keys that are stopped: they may start at any time."""
    return {key.port: key.limits.speed_mbps for key in keys if key.limits.speed_mbps is not None}
