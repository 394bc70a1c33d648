"""Reads the users of Marzban, from its SQLite database or from the answer of its API, and its xray_config.json.

The database has the names of inbounds alone; what they are is in xray_config.json. A user is in all inbounds of his
protocols but those that exclude him.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vpnkeys.commented import without_comments
from vpnkeys.domain.errors import LegacyUnreadable
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.moving import Customer, Panel, SharedInbound
from vpnkeys.service.moving.collected import Collected
from vpnkeys.service.moving.inbound import read_inbound
from vpnkeys.service.moving.values import (
    Row,
    Tables,
    json_object,
    limits_of,
    moment,
    name_of,
    note_of,
    objects,
    used,
    uuid_of,
    whole,
)

MARZBAN_TABLES: Mapping[str, tuple[str, ...] | None] = {
    "users": ("id", "username", "used_traffic"),
    "proxies": None,
    "exclude_inbounds_association": None,
    "hosts": None,
    "next_plans": None,
    "user_usage_logs": None,
}
"""The tables to read, with the columns that they must have; None for those that some versions do not have."""

_WINDOWS = {"no_reset": Window.TOTAL, "day": Window.DAY, "week": Window.WEEK, "month": Window.MONTH}
_UNKNOWN = (
    "Without xray_config.json (--config) it is not known which inbounds have REALITY: every VLESS user is imported, "
    "and the key pair and short ids are this server's own."
)


@dataclass(frozen=True, slots=True)
class _User:
    """A user of either source. `proxies` are settings by protocol; `tags` are his inbounds, None for all."""

    row: Row
    proxies: Mapping[str, object]
    tags: frozenset[object] | None = None
    excluded: frozenset[object] = frozenset()
    has_next_plan: bool = False


def read_marzban(tables: Tables, config: str | None = None) -> Panel:
    """Return what the database has. Raises LegacyUnreadable when `config` is no xray_config.json."""
    inbounds, found = _inbounds(config, tables["hosts"])
    before_resets = sum(used(row.get("used_traffic_at_reset")) for row in tables["user_usage_logs"])
    resets = (
        f"What was used before resets of traffic ({before_resets} bytes) is not imported: it counts towards no limit."
    )
    return _panel(_users(tables), inbounds, found, *([resets] if before_resets else []))


def read_marzban_answer(text: str, config: str | None = None) -> Panel:
    """Return what an answer of the API has: `GET /api/users`. Raises LegacyUnreadable when it, or `config`, is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = "The file is neither a database nor JSON; give db.sqlite3, or what its API answers to /api/users."
        raise LegacyUnreadable(msg) from error
    users = document.get("users") if isinstance(document, dict) else document
    if not isinstance(users, list) or not all(isinstance(one, dict) and "username" in one for one in users):
        msg = "The JSON has no list of users; give what its API answers to /api/users."
        raise LegacyUnreadable(msg)
    inbounds, found = _inbounds(config, ())
    total = document.get("total") if isinstance(document, dict) else None
    is_page = isinstance(total, int) and total > len(users)
    page = f"The answer has {len(users)} of {total} users: import the other pages of it too."
    return _panel(map(_user_of_answer, users), inbounds, found, *([page] if is_page else []))


def _user_of_answer(user: Row) -> _User:
    proxies, inbounds = user.get("proxies"), user.get("inbounds")
    tags = inbounds.get("vless") if isinstance(inbounds, dict) else None
    return _User(
        user,
        {str(name).lower(): one for name, one in proxies.items()} if isinstance(proxies, dict) else {},
        frozenset(map(str, tags)) if isinstance(tags, list) else None,
        has_next_plan=bool(user.get("next_plan")),
    )


def _users(tables: Tables) -> Iterator[_User]:
    proxies: dict[object, dict[str, Row]] = {}
    for proxy in tables["proxies"]:
        proxies.setdefault(proxy.get("user_id"), {})[str(proxy.get("type")).lower()] = proxy
    excluded: dict[object, set[object]] = {}
    for one in tables["exclude_inbounds_association"]:
        excluded.setdefault(one.get("proxy_id"), set()).add(one.get("inbound_tag"))
    planned = {plan.get("user_id") for plan in tables["next_plans"]}
    for row in tables["users"]:
        own = proxies.get(row.get("id"), {})
        if "proxy_type" in row:  # the first versions: one protocol a user
            own = {str(row.get("proxy_type")).lower(): row}
        vless = own.get("vless", {}).get("id")
        settings = {name: proxy.get("settings") for name, proxy in own.items()}
        yield _User(row, settings, excluded=frozenset(excluded.get(vless, ())), has_next_plan=row.get("id") in planned)


def _inbounds(config: str | None, hosts: Sequence[Row]) -> tuple[dict[str, SharedInbound] | None, Collected]:
    """Return the inbounds with REALITY by their names, None without a config; others are left out."""
    found = Collected()
    if config is None:
        return None, found
    try:
        document = json.loads(without_comments(config))
    except (ValueError, RecursionError) as error:
        msg = f"xray_config.json is not JSON ({error}); give the file that Marzban's Xray runs with."
        raise LegacyUnreadable(msg) from error
    if not isinstance(document, dict) or not isinstance(document.get("inbounds"), list):
        msg = "xray_config.json has no list of inbounds; give the file that Marzban's Xray runs with."
        raise LegacyUnreadable(msg)
    inbounds: dict[str, SharedInbound] = {}
    for raw in objects(document["inbounds"]):
        tag = str(raw.get("tag", ""))
        try:
            inbounds[tag] = _with_host(_inbound(raw, tag), hosts)
        except ValueError as error:
            found.leave(f'inbound "{tag}"', str(error))
    return inbounds, found


def _inbound(raw: Mapping[str, Any], tag: str) -> SharedInbound:
    stream = raw.get("streamSettings")
    fields = (raw.get("protocol"), raw.get("port"), raw.get("listen"))
    return read_inbound(tag, *fields, stream if isinstance(stream, dict) else {})


def _with_host(inbound: SharedInbound, hosts: Sequence[Row]) -> SharedInbound:
    """Return the inbound with the address and port that the panel puts into its links, where they are plain."""
    for host in hosts:
        if host.get("inbound_tag") != inbound.tag or host.get("is_disabled"):
            continue
        address = str(host.get("address") or "")
        port = host.get("port")
        is_plain = not set(address) & set("{},* ")
        return replace(
            inbound,
            link_port=port if isinstance(port, int) and port > 0 and port != inbound.port else None,
            host=address if is_plain else inbound.host,
        )
    return inbound


def _panel(
    users: Iterator[_User], inbounds: Mapping[str, SharedInbound] | None, found: Collected, *notes: str
) -> Panel:
    reading = _Reading(inbounds, found)
    for user in users:
        reading.read(user)
    return found.panel("Marzban", *notes, *([_UNKNOWN] if inbounds is None else []))


@dataclass(slots=True)
class _Reading:
    inbounds: Mapping[str, SharedInbound] | None
    found: Collected
    _names: set[str] = field(default_factory=set)

    def read(self, user: _User) -> None:
        """Add a user, or leave him out."""
        shown = str(user.row.get("username") or "a user without a name")
        used_bytes = used(user.row.get("used_traffic"))
        if "vless" not in user.proxies:
            has = ", ".join(sorted(user.proxies)) or "nothing"
            self.found.leave(shown, f"he has {has}, and only VLESS with REALITY is imported", used_bytes)
            return
        inbounds = self._inbounds_of(user)
        if inbounds == []:
            self.found.leave(shown, "he is in no VLESS inbound with REALITY", used_bytes)
            return
        try:
            customer = self._customer(user, used_bytes, inbounds or [])
        except ValueError as error:
            self.found.leave(shown, f"his {error}; correct it there, then import again", used_bytes)
            return
        self.found.add(customer)
        self._remark(user, customer, len(inbounds or ()))

    def _inbounds_of(self, user: _User) -> list[SharedInbound] | None:
        if self.inbounds is None:
            return None
        return [
            inbound
            for tag, inbound in self.inbounds.items()
            if tag not in user.excluded and (user.tags is None or tag in user.tags)
        ]

    def _customer(self, user: _User, used_bytes: int, inbounds: Sequence[SharedInbound]) -> Customer:
        settings = json_object("settings", user.proxies["vless"])
        flow = Flow.of_link(str(settings.get("flow") or ""))
        created_at = user.row.get("created_at")
        return Customer(
            name=name_of(user.row.get("username")),
            uuid=uuid_of(settings.get("id")),
            used_bytes=used_bytes,
            note=note_of(user.row.get("note")) or "",
            limits=_limits(user.row),
            is_active=user.row.get("status") != "disabled",
            created_at=moment("created_at", created_at) if created_at else None,
            inbound=next(iter(inbounds), None),
            flow=flow,
            others=tuple((inbound, flow) for inbound in inbounds[1:]),
        )

    def _remark(self, user: _User, customer: Customer, count: int) -> None:
        """Note what changes for a user."""
        name, plan = customer.name, user.row.get("data_limit_reset_strategy")
        if note_of(user.row.get("note")) is None:
            self.found.remark("the note is not imported: it is too long, or has control characters", name)
        if customer.limits.traffic_bytes is not None and plan == "month":
            self.found.remark("traffic was reset every 30 days, and is by calendar months here", name)
        if customer.limits.traffic_bytes is not None and str(plan or "no_reset") not in _WINDOWS:
            self.found.remark(f"traffic was reset each {plan}, which is not imported; the limit is a total", name)
        if user.has_next_plan:
            self.found.remark("the next plan is not imported", name)
        if count > 1:
            self.found.remark("the old links of several inbounds become one new link", name)
        if len(user.proxies) > 1:
            others = ", ".join(sorted(user.proxies.keys() - {"vless"}))
            self.found.remark(f"the old links of {others} end", name)
        if customer.inbound is not None and not customer.inbound.is_tcp:
            self.found.remark("the old transport is not TCP; the new link is TCP with Vision", name)


def _limits(row: Row) -> Limits:
    expire = row.get("expire")
    is_on_hold = row.get("status") == "on_hold"
    return limits_of(
        traffic_bytes=whole("data_limit", row.get("data_limit")),
        window=_WINDOWS.get(str(row.get("data_limit_reset_strategy") or "no_reset"), Window.TOTAL),
        devices=whole("device_limit", row.get("device_limit")),
        expires_at=moment("expire", expire) if expire and expire != "0" else None,
        expires_after_s=whole("on_hold_expire_duration", row.get("on_hold_expire_duration")) if is_on_hold else 0,
    )
