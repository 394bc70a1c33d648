"""Reads the database of 3x-ui, of 2.x and 3.x.

2.x keeps the customers of an inbound in its settings, as JSON, 3.x in tables too; where both have one, the tables
count. Traffic is counted by email, which is the name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from vpnkeys.domain.flow import Flow
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.moving import Customer, Panel, SharedInbound
from vpnkeys.service.moving.collected import Collected
from vpnkeys.service.moving.inbound import read_inbound
from vpnkeys.service.moving.values import (
    Row,
    Tables,
    flag,
    json_object,
    limits_of,
    moment_of_ms,
    name_of,
    note_of,
    objects,
    used,
    uuid_of,
    whole,
)

_Json: TypeAlias = Mapping[str, Any]

THREE_X_UI_TABLES: Mapping[str, tuple[str, ...] | None] = {
    "inbounds": ("id", "port", "protocol", "settings", "stream_settings"),
    "client_traffics": ("email", "up", "down"),
    "clients": None,
    "client_inbounds": None,
}
"""The tables to read, with the columns that they must have; None for those that 2.x does not have."""

_COLUMNS = {
    "uuid": "id",
    "comment": "comment",
    "flow": "flow",
    "limit_ip": "limitIp",
    "limit_hwid": "limitHwid",
    "total_gb": "totalGB",
    "expiry_time": "expiryTime",
    "enable": "enable",
    "reset": "reset",
    "traffic_reset": "trafficReset",
    "traffic_reset_day": "trafficResetDay",
    "created_at": "created_at",
}
"""The columns of 3.x, and what they are called in the JSON of all versions."""

_WINDOWS = {"never": Window.TOTAL, "daily": Window.DAY, "weekly": Window.WEEK}
_LAST_DAY = 31


def read_3x_ui(tables: Tables, now: datetime) -> Panel:
    """Return what the database has. By `now`, customers stopped by a limit differ from those switched off."""
    return _Reading(tables, now).panel()


@dataclass(frozen=True, slots=True)
class _Place:
    """An inbound with its customers; `unfit` says why they cannot be imported, if so."""

    row: Row
    label: str
    clients: tuple[_Json, ...] = ()
    inbound: SharedInbound | None = None
    unfit: str = ""


@dataclass(slots=True)
class _Reading:
    tables: Tables
    now: datetime
    found: Collected = field(default_factory=Collected)
    _traffic: dict[object, Row] = field(init=False)
    _uuids: dict[str, str] = field(default_factory=dict)
    """The UUIDs of imported customers by email: what an email has used counts for one customer."""
    _left: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._traffic = {row.get("email"): row for row in self.tables["client_traffics"]}

    def panel(self) -> Panel:
        """Return all that is there."""
        places = [self._place(row) for row in self.tables["inbounds"]]
        for place in places:
            if place.inbound is not None:
                for client in place.clients:
                    self._read_client(client, place, place.inbound)
        # Later, because a customer may be in several inbounds, of which one is enough.
        for place in places:
            self._leave_unfit(place)
        for email in self._traffic:
            if email not in self._uuids and email not in self._left and self._used(email):
                self.found.leave(_shown(email), "it is in no inbound that can be read", self._used(email))
        return self.found.panel("3x-ui")

    def _place(self, row: Row) -> _Place:
        label = f'inbound "{row.get("remark") or row.get("tag") or row.get("id")}" (port {row.get("port")})'
        clients: tuple[_Json, ...] = ()
        try:
            clients = tuple(self._clients(row))
            return _Place(row, label, clients, _shared(row, label))
        except ValueError as error:
            return _Place(row, label, clients, unfit=str(error))

    def _clients(self, row: Row) -> Iterator[_Json]:
        """Yield the customers of an inbound, with the names that the JSON has for columns."""
        links = [link for link in self.tables["client_inbounds"] if link.get("inbound_id") == row["id"]]
        here = {link.get("client_id"): link.get("flow_override") for link in links}
        rows = {one.get("email"): one for one in self.tables["clients"] if one.get("id") in here}
        for client in objects(json_object("its settings", row["settings"]).get("clients")):
            email = client.get("email")
            yield {**client, **_renamed(rows.pop(email, {}) if isinstance(email, str) else {})}
        for email, one in rows.items():
            flow = here[one.get("id")]
            yield {**_renamed(one), "email": email, **({"flow": flow} if flow else {})}

    def _leave_unfit(self, place: _Place) -> None:
        if place.unfit and not place.clients:
            self.found.leave(place.label, place.unfit)
        for client in place.clients if place.unfit else ():
            email = client.get("email")
            if isinstance(email, str) and email in self._uuids:
                self.found.remark("the old link of another inbound, which is not imported, ends", email)
            else:
                self._leave(client, f"{place.label}: {place.unfit}")
        if used(place.row.get("total")) or used(place.row.get("expiry_time")):
            self.found.leave(place.label, "its own limit is not imported, those of its customers are")

    def _leave(self, client: _Json, why: str) -> None:
        email = client.get("email")
        is_counted = not isinstance(email, str) or email in self._uuids or email in self._left
        self.found.leave(_shown(email), why, 0 if is_counted else self._used(email))
        if isinstance(email, str):
            self._left.add(email)

    def _read_client(self, client: _Json, place: _Place, inbound: SharedInbound) -> None:
        email = client.get("email")
        try:
            uuid = uuid_of(client.get("id"))
            if isinstance(email, str) and email and self._uuids.get(email, uuid) != uuid:
                self._leave(client, "another customer has the same name, so what it has used is not known")
                return
            customer = self._customer(client, uuid, place, inbound)
        except ValueError as error:
            self._leave(client, f"its {error}; correct it there, then import again")
            return
        is_in = self.found.add(customer)
        if isinstance(email, str) and is_in:
            self._uuids[email] = uuid
        elif isinstance(email, str):
            self._left.add(email)

    def _customer(self, client: _Json, uuid: str, place: _Place, inbound: SharedInbound) -> Customer:
        name = name_of(client.get("email") or uuid)
        used_bytes = self._used(client.get("email"))
        limits = self._limits(client, name, place.row)
        created_at = whole("created_at", client.get("created_at"))
        is_active = self._is_active(client, limits, used_bytes, place.row)
        if (note := note_of(client.get("comment"))) is None:
            self.found.remark("the comment is not imported: it is too long, or has control characters", name)
        if not inbound.is_tcp:
            self.found.remark("the old transport is not TCP; the new link is TCP with Vision", name)
        return Customer(
            name=name,
            uuid=uuid,
            used_bytes=used_bytes,
            note=note or "",
            limits=limits,
            is_active=is_active,
            created_at=moment_of_ms("created_at", created_at) if created_at > 0 else None,
            inbound=inbound,
            flow=Flow.of_link(str(client.get("flow") or "")),
        )

    def _limits(self, client: _Json, name: str, inbound: Row) -> Limits:
        traffic = self._row_of(client)
        expiry = whole("expiryTime", client.get("expiryTime"))
        if expiry < 0 < (began := whole("expiry_time", traffic.get("expiry_time"))):
            expiry = began  # with the first byte, after the JSON was written
        limit = whole("totalGB", client.get("totalGB"))
        window = self._window(client, name, inbound) if limit > 0 else Window.TOTAL
        if whole("reset", client.get("reset")) > 0:
            self.found.remark("renewals by the panel are not imported; extend the key before it expires", name)
        if whole("limitHwid", client.get("limitHwid")) > 0:
            self.found.remark("the limit of devices by hardware id is not imported", name)
        return limits_of(
            traffic_bytes=limit,  # in bytes, whatever it is called
            window=window,
            devices=whole("limitIp", client.get("limitIp")),
            expires_at=moment_of_ms("expiryTime", expiry) if expiry > 0 else None,
            expires_after_s=-expiry // 1000 if expiry < 0 else 0,
        )

    def _window(self, client: _Json, name: str, inbound: Row) -> Window:
        """Return when traffic counts anew: by the customer's own plan, or by the inbound's."""
        plan, day = str(client.get("trafficReset") or "never"), client.get("trafficResetDay")
        if plan == "never":
            plan, day = str(inbound.get("traffic_reset") or "never"), inbound.get("traffic_reset_day")
        if plan == "monthly":
            first = min(max(whole("trafficResetDay", day), 1), _LAST_DAY)
            return Window.MONTH if first == 1 else Window(f"month@{first}")
        if plan not in _WINDOWS:
            self.found.remark(f"traffic was reset {plan}, which is not imported; the limit is a total", name)
        return _WINDOWS.get(plan, Window.TOTAL)

    def _is_active(self, client: _Json, limits: Limits, used_bytes: int, inbound: Row) -> bool:
        """Return whether the operator has the customer switched on. A limit that is reached switches off there too."""
        if not flag("enable of its inbound", inbound.get("enable")):
            return False
        traffic = self._row_of(client)
        if flag("enable", client.get("enable")) and flag("enable", traffic.get("enable")):
            return True
        has_expired = limits.expires_at is not None and limits.expires_at <= self.now
        return has_expired or (limits.traffic_bytes is not None and used_bytes >= limits.traffic_bytes)

    def _row_of(self, client: _Json) -> Row:
        email = client.get("email")
        return self._traffic.get(email, {}) if isinstance(email, str) else {}

    def _used(self, email: object) -> int:
        row = self._traffic.get(email, {}) if isinstance(email, str) else {}
        return used(row.get("up")) + used(row.get("down"))


def _shared(row: Row, label: str) -> SharedInbound:
    """Return the inbound of a row. Raises ValueError, with why its customers cannot be imported."""
    if row.get("node_id"):
        msg = "it runs on another node of the panel"
        raise ValueError(msg)
    stream = json_object("its stream settings", row.get("stream_settings") or "{}")
    host, tag = row.get("share_addr"), str(row.get("tag") or label)
    found = read_inbound(
        tag, row["protocol"], row["port"], row.get("listen"), stream, host if isinstance(host, str) else ""
    )
    is_on = flag("enable", row.get("enable"))
    return found if is_on else replace(found, no_door="it is switched off there")


def _renamed(row: Row) -> dict[str, object]:
    return {name: row[column] for column, name in _COLUMNS.items() if row.get(column) not in (None, "")}


def _shown(email: object) -> str:
    return email if isinstance(email, str) and email else "a customer without a name"
