"""Reads an old installation from its tables, its config.json and its keys.env.

Where database and config.json differ about a port, a short id or a server name, config.json decides: Xray served
it, so the links in use work with it. A value that one of them lacks is taken from the other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from vpnkeys.domain.errors import InvalidName
from vpnkeys.domain.key import VISION, Key
from vpnkeys.domain.naming import parse_name
from vpnkeys.domain.reality import pad_short_id
from vpnkeys.service.legacy.config import Served, ServedConfig, read_config, read_key_pair
from vpnkeys.service.legacy.importing import Clash, LegacyInstallation
from vpnkeys.service.legacy.values import (
    parse_flag,
    parse_id,
    parse_moment,
    parse_port,
    parse_server_name,
    parse_short_id,
    parse_total,
    parse_uuid,
)

LegacyRow: TypeAlias = Mapping[str, object]
LegacyTables: TypeAlias = Mapping[str, Sequence[LegacyRow]]

T = TypeVar("T")

_AGAIN = "then import again"


class _Faulty(Exception):
    """Says that a row cannot be imported; its clash has been noted."""


def read_installation(tables: LegacyTables, config: str, env: str, sni: str = "") -> LegacyInstallation:
    """Return the installation. `sni` is the server name for keys whose name neither source has.

    Raises LegacyUnreadable when config.json or keys.env cannot be read as what they should be.
    """
    pair, clashes = read_key_pair(env)
    # The UUIDs of the database come first: they show which inbounds of config.json are keys' whatever their tags.
    known = frozenset(uuid for row in tables["keys"] if (uuid := _uuid_of(row, "uuid")) is not None)
    served = read_config(config, pair, known)
    reading = _Reading(tables, served, sni, [*clashes, *served.clashes])
    keys = tuple(reading.keys())
    totals = {key.uuid: reading.total(key) for key in keys}
    reading.find_rows_without_key(known)
    return LegacyInstallation(keys, totals, pair, tuple(reading.clashes), tuple(reading.notes))


def _uuid_of(row: LegacyRow, column: str) -> str | None:
    try:
        return parse_uuid(row.get(column))
    except ValueError:
        return None


@dataclass(slots=True)
class _Reading:
    """Joins rows with inbounds, and collects clashes and notes."""

    tables: LegacyTables
    config: ServedConfig
    sni: str
    clashes: list[Clash]
    notes: list[str] = field(default_factory=list)

    def keys(self) -> Iterator[Key]:
        """Yield the keys that can be imported; each other row adds a clash."""
        for number, row in enumerate(self.tables["keys"], 1):
            with suppress(_Faulty):
                yield self._key(row, number)
        self._add_notes()

    def _key(self, row: LegacyRow, number: int) -> Key:
        uuid = self._value(f"keys: row {number}", "uuid", row.get("uuid"), parse_uuid)
        name = self._name(row, uuid)
        label = f'key "{name}" ({uuid})'
        assigned = self._assignment(uuid)
        served = self._served(label, uuid)
        is_active = self._is_active(label, row, assigned, served)
        own_port = self._first(label, "port", [row.get("port"), assigned.get("port")], parse_port)
        own_id = self._first(label, "short_id", [row.get("short_id") or None], parse_short_id)
        own_sni = self._first(label, "sni", [row.get("sni") or None], parse_server_name)
        port = self._choose(label, "port", own_port, (served.port,) if served else ())
        return Key(
            id=self._value(label, "id", row.get("id"), parse_id),
            name=name,
            uuid=uuid,
            created_at=self._created_at(label, row, assigned, uuid),
            is_active=is_active,
            port=port,
            # REALITY compares short ids padded with zeros to 16 digits, so a shorter spelling is the same id.
            short_id=self._choose(label, "short_id", own_id, served.short_ids if served else (), same=pad_short_id),
            sni=self._choose(label, "sni", own_sni, served.server_names if served else (), spare=self.sni),
            # Without an inbound no client uses the key, so it gets the flow of new keys.
            flow=served.flow if served else VISION,
            port_assigned_at=_assigned_at(assigned, port),
        )

    def total(self, key: Key) -> int:
        """Return the bytes that a key has used, 0 when there is no row; a damaged row adds a clash."""
        rows = [row for row in self.tables["traffic_history"] if _uuid_of(row, "key_uuid") == key.uuid]
        label = f'traffic_history: key "{key.name}" ({key.uuid})'
        if len(rows) > 1:
            # Not added up: two rows may hold the same bytes twice.
            self._clash("traffic_ambiguous", f"{label} has {len(rows)} rows: delete all but the right one, {_AGAIN}.")
            return 0
        try:
            return parse_total(rows[0].get("payload")) if rows else 0
        except ValueError as error:
            self._clash(
                "traffic_damaged",
                f"{label}: its payload {error}: correct it, or delete the row to let the total start at 0, {_AGAIN}.",
            )
            return 0

    def find_rows_without_key(self, known: frozenset[str]) -> None:
        """Add a clash for each inbound without a key, as its link works, and a note for rows of deleted keys."""
        for inbound in self.config.served:
            if inbound.uuid not in known:
                self._clash(
                    "served_without_key",
                    f"config.json serves {inbound.uuid} on port {inbound.port}, which no key in the database has: add "
                    f"it to the table keys to keep its link working, or remove inbound {inbound.tag}, {_AGAIN}.",
                )
        for table, column in (("port_assignments", "uuid"), ("traffic_history", "key_uuid")):
            left_over = sum(_uuid_of(row, column) not in known for row in self.tables[table])
            if left_over:
                self.notes.append(f"{table}: {left_over} rows of keys that no longer exist are left out.")

    def _name(self, row: LegacyRow, uuid: str) -> str:
        value = row.get("name")
        try:
            return parse_name(value if isinstance(value, str) else "")
        except InvalidName as error:
            self._clash("key_damaged", f"keys: {uuid}: {error} Correct it on the old server, {_AGAIN}.")
            raise _Faulty from error

    def _assignment(self, uuid: str) -> LegacyRow:
        """Return the row of port_assignments for a key, preferably an active one; empty when there is none."""
        rows = [row for row in self.tables["port_assignments"] if _uuid_of(row, "uuid") == uuid]
        return max(rows, key=lambda row: row.get("is_active") not in (0, "0", None), default={})

    def _served(self, label: str, uuid: str) -> Served | None:
        if uuid in self.config.unfit:
            raise _Faulty  # its inbound left a clash
        found = [inbound for inbound in self.config.served if inbound.uuid == uuid]
        if len(found) > 1:
            tags = ", ".join(f"{inbound.tag} on port {inbound.port}" for inbound in found)
            self._clash(
                "served_twice",
                f"config.json serves {label} in {len(found)} inbounds ({tags}): remove all but the one whose port is "
                f"in the customer's link, {_AGAIN}.",
            )
            raise _Faulty
        return found[0] if found else None

    def _is_active(self, label: str, row: LegacyRow, assigned: LegacyRow, served: Served | None) -> bool:
        flags = [row.get("is_active"), assigned.get("is_active")]
        is_active = self._first(label, "is_active", flags, parse_flag)
        if is_active is None:
            # No table says it, so what Xray served decides.
            return served is not None
        if is_active and served is None:
            self._clash(
                "not_served",
                f"{label} is active in the database, but config.json has no inbound for it, so its link does not work: "
                "let the old server write config.json anew (POST /api/system/sync-config), or delete the key there, "
                f"{_AGAIN}.",
            )
            raise _Faulty
        if not is_active and served is not None:
            self._clash(
                "served_though_inactive",
                f"{label} is inactive in the database, but config.json serves it on port {served.port}: set is_active "
                f"to 1 to keep its link working, or remove inbound {served.tag} to end it, {_AGAIN}.",
            )
            raise _Faulty
        if not is_active:
            self.notes.append(
                f"{label} is inactive and not served: it is imported as inactive, from the database alone."
            )
        return is_active

    def _created_at(self, label: str, row: LegacyRow, assigned: LegacyRow, uuid: str) -> datetime:
        history = [each for each in self.tables["traffic_history"] if _uuid_of(each, "key_uuid") == uuid]
        times = [row.get("created_at"), assigned.get("assigned_at"), *(each.get("created_at") for each in history)]
        moment = self._first(label, "created_at", [time or None for time in times], parse_moment)
        if moment is None:
            self._clash("key_damaged", f"{label} has no created_at: set one in the table keys, {_AGAIN}.")
            raise _Faulty
        return moment

    def _choose(  # noqa: PLR0913 - two sources, a rule for each
        self,
        label: str,
        name: str,
        own: T | None,
        offered: Sequence[T],
        *,
        spare: T | None = None,
        same: Callable[[T], object] = lambda value: value,
    ) -> T:
        """Return the value in the customer's link: the database's if Xray served it, else the one that Xray served."""
        if own is not None and (not offered or same(own) in map(same, offered)):
            return own
        if len(offered) == 1:
            if own is not None:
                self.notes.append(
                    f"{label}: {name} is {own} in the database and {offered[0]} in config.json, which is taken: it is "
                    "what Xray served, so links in use have it."
                )
            return offered[0]
        if spare and (not offered or spare in offered):
            return spare
        self._clash_without(label, name, own, offered)
        raise _Faulty

    def _clash_without(self, label: str, name: str, own: object, offered: Sequence[object]) -> None:
        has = f"{name} {own} in the database" if own is not None else f"no {name} in the database"
        serves = f"config.json serves {', '.join(map(str, offered))}" if offered else "no inbound in config.json"
        how = ", or give it with --sni" if name == "sni" else ""
        advice = f"set {name} in the table keys to the one in the customer's link{how}"
        self._clash(f"{name}_unknown", f"{label} has {has}, and {serves}: {advice}, {_AGAIN}.")

    def _first(self, label: str, name: str, values: Sequence[object], parse: Callable[[object], T]) -> T | None:
        """Return the first value that is not None, parsed; a damaged one is a clash and not replaced by a later one."""
        for value in values:
            if value is not None:
                return self._value(label, name, value, parse)
        return None

    def _value(self, label: str, name: str, value: object, parse: Callable[[object], T]) -> T:
        try:
            return parse(value)
        except ValueError as error:
            text = f"{label}: {name} {value!r} {error}: correct it in the old database, {_AGAIN}."
            self._clash("key_damaged", text)
            raise _Faulty from error

    def _clash(self, code: str, message: str) -> None:
        self.clashes.append(Clash(code, message))

    def _add_notes(self) -> None:
        """Add notes on what the inbounds have in common."""
        without = [inbound for inbound in self.config.served if not inbound.flow]
        if without:
            self.notes.append(
                f"{len(without)} inbounds have no flow ({_ports(without)}): they stay so, because Xray refuses clients "
                f"whose flow is another. Clients without a flow go on working; a client set to flow={VISION} was "
                "refused by the old server for these keys and still is: give it the key's new link, which has no flow."
            )
        targets = sorted({inbound.target for inbound in self.config.served})
        if targets:
            self.notes.append(
                f"The old dest ({', '.join(targets)}) is not taken over: links do not carry it, and here each server "
                "name has its own target (NAME:443, unless VPNKEYS_REALITY_TARGET is set), which keeps the camouflage "
                "true. That site must answer TLS 1.3 with h2 from this server."
            )


def _ports(inbounds: Sequence[Served]) -> str:
    return "port " + ", ".join(str(inbound.port) for inbound in inbounds)


def _assigned_at(assigned: LegacyRow, port: int) -> datetime | None:
    """Return when the key got this port, None when the old server did not note it for this port."""
    try:
        return parse_moment(assigned.get("assigned_at")) if parse_port(assigned.get("port")) == port else None
    except ValueError:
        return None
