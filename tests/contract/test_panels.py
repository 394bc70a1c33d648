"""Databases of other panels, of each line of versions: what is read of each customer, and what is left out and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.marzban import Marzban, MarzbanUser
from tests.support.three_x_ui import SCHEMAS, XuiClient, XuiDatabase, XuiInbound

from vpnkeys.domain.errors import LegacyUnreadable
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.limits import NO_LIMITS, Limits, Window
from vpnkeys.domain.moving import Customer, Panel, render_old_link
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.moving.marzban import MARZBAN_TABLES, read_marzban, read_marzban_answer
from vpnkeys.service.moving.three_x_ui import THREE_X_UI_TABLES, read_3x_ui
from vpnkeys.store.files.legacy import read_tables

NOW = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
DAY_S = 86400


def ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int((moment - datetime(1970, 1, 1)) / timedelta(milliseconds=1))  # noqa: DTZ001 - as above


SOON, PAST = NOW + timedelta(days=10), NOW - timedelta(days=1)


def read(database: XuiDatabase) -> Panel:
    """What we make of a database of 3x-ui."""
    return read_3x_ui(read_tables(database.write().path, THREE_X_UI_TABLES, "the database of 3x-ui"), NOW)


def read_one(tmp_path: Path, client: XuiClient, version: str = "2.8") -> Customer:
    """The only customer of a database."""
    panel = read(XuiDatabase(tmp_path / "x-ui.db", [XuiInbound([client])], version))
    assert panel.left_out == ()
    (customer,) = panel.customers
    return customer


def left(panel: Panel) -> dict[str, str]:
    """What is left out, with the reasons."""
    return {one.what: one.why for one in panel.left_out}


@pytest.mark.parametrize("version", SCHEMAS)
def test_a_customer_of_each_version(tmp_path: Path, version: str) -> None:
    """Name, comment, UUID, limits, expiry, traffic, and the inbound with its pair and short ids."""
    more = {"comment": "paid", "totalGB": 5 * 10**9, "expiryTime": ms(SOON), "limitIp": 2, "created_at": ms(PAST)}
    client = XuiClient("anna@example.com", 11, 22, more=more)
    inbound = XuiInbound([client], port=8443, short_ids=("a1b2c3d4", "00ff"), server_names=("www.one.example",))
    panel = read(XuiDatabase(tmp_path / "x-ui.db", [inbound], version))
    (customer,) = panel.customers
    assert replace(customer, inbound=None) == Customer(
        name="anna@example.com",
        uuid=client.uuid,
        used_bytes=33,
        note="paid",
        limits=Limits(expires_at=SOON, traffic_bytes=5 * 10**9, max_devices=2),
        created_at=PAST,
        flow=Flow.VISION,
    )
    shared = customer.inbound
    assert shared is not None
    assert (shared.port, shared.key_pair, shared.short_ids) == (8443, inbound.pair, ("a1b2c3d4", "00ff"))
    assert shared.server_names == ("www.one.example",)
    assert (panel.left_out, panel.notes) == ((), ())


def test_the_tables_of_3_x_are_enough(tmp_path: Path) -> None:
    """Also when its JSON has no customers; and they count where both have one."""
    client = XuiClient("anna", 1, 2, more={"comment": "paid", "expiryTime": ms(SOON)})
    in_json = read(XuiDatabase(tmp_path / "x-ui.db", [XuiInbound([client])], "3.6"))
    in_tables = read(XuiDatabase(tmp_path / "x-ui.db", [XuiInbound([client])], "3.6", in_tables=True))
    assert in_tables.used_bytes == in_json.used_bytes == 3
    assert [(one.name, one.note, one.limits, one.flow) for one in in_tables.customers] == [
        (one.name, one.note, one.limits, one.flow) for one in in_json.customers
    ]


LIMITS: dict[str, tuple[dict[str, object], Limits]] = {
    "none": ({"totalGB": 0, "limitIp": 0, "expiryTime": 0}, NO_LIMITS),
    "missing": ({"totalGB": None, "limitIp": "", "expiryTime": None}, NO_LIMITS),
    "from the first byte": ({"expiryTime": -30 * DAY_S * 1000}, Limits(expires_after_s=30 * DAY_S)),
    "more than can be set": ({"limitIp": 5000, "totalGB": 2**62}, Limits(max_devices=1000, traffic_bytes=10**18)),
    "by the month": (
        {"totalGB": 5, "trafficReset": "monthly", "trafficResetDay": 15},
        Limits(traffic_bytes=5, traffic_window=Window("month@15")),
    ),
    "by the day": ({"totalGB": 5, "trafficReset": "daily"}, Limits(traffic_bytes=5, traffic_window=Window.DAY)),
    "by the hour": ({"totalGB": 5, "trafficReset": "hourly"}, Limits(traffic_bytes=5)),
    "a window without a limit": ({"trafficReset": "monthly"}, NO_LIMITS),
}


@pytest.mark.parametrize("what", LIMITS)
@pytest.mark.parametrize("version", ["2.8", "3.6"])
def test_limits(tmp_path: Path, what: str, version: str) -> None:
    """In bytes and milliseconds there; what begins with the first byte is negative."""
    more, limits = LIMITS[what]
    assert read_one(tmp_path, XuiClient("anna", more=more), version).limits == limits


def test_a_time_that_has_begun(tmp_path: Path) -> None:
    """The table of traffic has the date, while the JSON may still have the span."""
    client = XuiClient("anna", more={"expiryTime": -DAY_S * 1000}, traffic={"expiry_time": ms(SOON)})
    assert read_one(tmp_path, client).limits == Limits(expires_at=SOON)


def test_the_window_of_a_whole_inbound(tmp_path: Path) -> None:
    """Customers have it where they have none of their own."""
    client = XuiClient("anna", more={"totalGB": 5})
    inbound = XuiInbound([client], columns={"traffic_reset": "weekly"})
    (customer,) = read(XuiDatabase(tmp_path / "x-ui.db", [inbound])).customers
    assert customer.limits.traffic_window == Window.WEEK


SWITCHES: dict[str, tuple[XuiClient, dict[str, object], bool]] = {
    "on": (XuiClient("anna"), {}, True),
    "off": (XuiClient("anna", more={"enable": False}), {}, False),
    "off in the table of traffic": (XuiClient("anna", traffic={"enable": 0}), {}, False),
    "the inbound is off": (XuiClient("anna"), {"enable": 0}, False),
    "stopped by its limit": (XuiClient("anna", 5, more={"totalGB": 5}, traffic={"enable": 0}), {}, True),
    "stopped by its date": (XuiClient("anna", more={"expiryTime": ms(PAST), "enable": False}), {}, True),
}


@pytest.mark.parametrize("what", SWITCHES)
def test_who_is_switched_on(tmp_path: Path, what: str) -> None:
    """The panel switches off whom a limit stops; here the limit stops the key, which goes on when it is raised."""
    client, columns, is_active = SWITCHES[what]
    (customer,) = read(XuiDatabase(tmp_path / "x-ui.db", [XuiInbound([client], columns=columns)])).customers
    assert customer.is_active is is_active


WS = {"network": "ws", "security": "none"}
UNFIT: dict[str, tuple[XuiInbound, str]] = {
    "another protocol": (XuiInbound([XuiClient("anna", 1, 2)], protocol="vmess"), "protocol is vmess"),
    "no REALITY": (XuiInbound([XuiClient("anna", 1, 2)], stream=WS), "security is none"),
    "a damaged key": (XuiInbound([XuiClient("anna", 1, 2)], pair=KeyPair("torn", "")), "privateKey is damaged"),
    "no UUID": (XuiInbound([XuiClient("anna", 1, 2, uuid="secret")]), "id is no UUID"),
    "no such time": (XuiInbound([XuiClient("anna", 1, 2, more={"expiryTime": 10**18})]), "expiryTime is no time"),
    "no number": (XuiInbound([XuiClient("anna", 1, 2, more={"totalGB": "many"})]), "totalGB is no whole number"),
    "a name that is none": (XuiInbound([XuiClient("anna\x07", 1, 2)]), "name cannot be a key's"),
    "a damaged inbound": (
        XuiInbound([XuiClient("anna", 1, 2)], columns={"settings": "{"}),
        "it is in no inbound that can be read",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_left_out(tmp_path: Path, what: str) -> None:
    """With the reason and what was used; the others come over all the same."""
    inbound, why = UNFIT[what]
    fit = XuiInbound([XuiClient("boris", 4)], port=8443)
    database = XuiDatabase(tmp_path / "x-ui.db", [inbound, fit])
    panel = read(database)
    assert [one.name for one in panel.customers] == ["boris"]
    assert any("anna" in one.what and why in one.why and one.used_bytes == 3 for one in panel.left_out), panel.left_out
    assert panel.used_bytes == database.used() == 7


def test_an_inbound_of_another_node(tmp_path: Path) -> None:
    """Its customers are connected elsewhere."""
    inbound = XuiInbound([XuiClient("anna", 1)], columns={"node_id": 3})
    panel = read(XuiDatabase(tmp_path / "x-ui.db", [inbound], "3.6"))
    assert panel.customers == ()
    assert "another node" in left(panel)["anna"]


def test_what_no_customer_has(tmp_path: Path) -> None:
    """Traffic of deleted customers, inbounds without customers and limits of whole inbounds are told."""
    tunnel = XuiInbound([], port=53, protocol="dokodemo-door", remark="tunnel")
    limited = XuiInbound([XuiClient("anna", 1)], columns={"total": 5}, remark="limited")
    database = XuiDatabase(tmp_path / "x-ui.db", [limited, tunnel], more_traffic=[("gone", 100), ("new", 0)])
    panel = read(database)
    assert {*left(panel)} == {"gone", 'inbound "tunnel" (port 53)', 'inbound "limited" (port 443)'}
    assert panel.used_bytes == database.used() == 101


def test_one_customer_in_several_inbounds(tmp_path: Path) -> None:
    """He gets one key, what he used counts once, and an unfit inbound beside does not matter."""
    anna = XuiClient("anna", 1, 2)
    unfit = XuiInbound([anna], port=1, protocol="vmess")
    inbounds = [unfit, XuiInbound([anna], port=2), XuiInbound([anna], port=3)]
    database = XuiDatabase(tmp_path / "x-ui.db", inbounds, "3.6")
    panel = read(database)
    assert [(one.name, one.inbound and one.inbound.port) for one in panel.customers] == [("anna", 2)]
    assert (panel.left_out, panel.used_bytes) == ((), database.used())
    assert any("one new link" in note for note in panel.notes)
    assert any("not imported, ends" in note for note in panel.notes)


GB = 10**9
ENTRIES: dict[str, tuple[dict[str, object], dict[str, object], bool, Limits]] = {
    "the one is off": ({"enable": False, "totalGB": 9 * GB}, {"totalGB": GB}, True, Limits(traffic_bytes=GB)),
    "both are off": ({"enable": False}, {"enable": False}, False, NO_LIMITS),
    "the later date": ({"expiryTime": ms(SOON)}, {"expiryTime": ms(PAST)}, True, Limits(expires_at=SOON)),
    "no date": ({"expiryTime": ms(SOON)}, {}, True, NO_LIMITS),
    "a term that has not begun": (
        {"expiryTime": -DAY_S * 1000},
        {"expiryTime": ms(PAST)},
        True,
        Limits(expires_after_s=DAY_S),
    ),
    "more bytes": ({"totalGB": 2 * GB}, {"totalGB": GB}, True, Limits(traffic_bytes=2 * GB)),
    "no limit of bytes": ({"totalGB": GB, "limitIp": 3}, {"limitIp": 2}, True, Limits(max_devices=3)),
    "bytes that come again": (
        {"totalGB": GB, "trafficReset": "daily"},
        {"totalGB": GB},
        True,
        Limits(traffic_bytes=GB, traffic_window=Window.DAY),
    ),
}


@pytest.mark.parametrize("what", ENTRIES)
@pytest.mark.parametrize("order", [1, -1])
def test_two_entries_of_one_customer(tmp_path: Path, what: str, order: int) -> None:
    """Those that are on count, with the widest limits, whichever the file has first."""
    *entries, is_active, limits = ENTRIES[what]
    anna = XuiClient("anna", 1, traffic={"enable": 1, "expiry_time": 0})
    inbounds = [XuiInbound([replace(anna, more=more)], port=port) for port, more in enumerate(entries, 2)]
    (customer,) = read(XuiDatabase(tmp_path / "x-ui.db", inbounds[::order])).customers
    assert (customer.is_active, customer.limits) == (is_active, limits)
    let_in = {port for port, more in enumerate(entries, 2) if more.get("enable", True) or not is_active}
    assert {inbound.port for inbound, _ in customer.inbounds} == let_in


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("version", SCHEMAS)
def test_an_inbound_that_is_off_keeps_nobody_out_of_another(tmp_path: Path, version: str, order: int) -> None:
    """Its customer goes on by the other one, and there is no door for it."""
    anna, boris = XuiClient("anna", 1), XuiClient("boris")
    off = XuiInbound([anna, boris], port=2, columns={"enable": 0})
    panel = read(XuiDatabase(tmp_path / "x-ui.db", [off, XuiInbound([anna], port=3)][::order], version))
    found = {one.name: (one.is_active, [inbound.port for inbound, _ in one.inbounds]) for one in panel.customers}
    assert found == {"anna": (True, [3]), "boris": (False, [2])}
    (closed,) = [inbound for one in panel.customers for inbound, _ in one.inbounds if inbound.port == 2]
    assert closed.no_door == "it is switched off there"


def test_a_uuid_is_one_customers(tmp_path: Path) -> None:
    """A second name for it is left out by the first one's name, and so is a second UUID for a name."""
    anna = XuiClient("anna", 1)
    inbounds = [XuiInbound([anna, replace(anna, email="anna-2", up=5)]), XuiInbound([XuiClient("anna")], port=2)]
    database = XuiDatabase(tmp_path / "x-ui.db", inbounds)
    panel = read(database)
    assert [one.uuid for one in panel.customers] == [anna.uuid]
    assert "that of anna" in left(panel)["anna-2"]
    assert "same name" in left(panel)["anna"]
    assert panel.used_bytes == database.used() == 6


def test_a_customer_without_a_name(tmp_path: Path) -> None:
    """The first panels did not ask for one: the UUID is his name."""
    client = XuiClient(None)
    assert read_one(tmp_path, client).name == client.uuid


def test_what_changes_is_told(tmp_path: Path) -> None:
    """Renewals, other transports, comments that cannot come over: a note with the names."""
    clients = [XuiClient("anna", more={"reset": 30}), XuiClient("boris", more={"comment": "x" * 1001})]
    inbound = XuiInbound(clients, stream={"network": "xhttp"})
    panel = read(XuiDatabase(tmp_path / "x-ui.db", [inbound]))
    notes = "\n".join(panel.notes)
    assert "1 key (anna): renewals" in notes
    assert "1 key (boris): the comment" in notes
    assert "2 keys (anna, boris): the old transport" in notes
    assert [render_old_link(one, "h") for one in panel.customers] == ["", ""]


ALL = [
    MarzbanUser("anna", 33, more={"data_limit": 5 * 10**9, "expire": 1_893_456_000}),
    MarzbanUser("boris", 1, more={"status": "disabled"}),
    MarzbanUser("clara", 2, more={"status": "limited", "data_limit": 2}),
]


def users_of(marzban: Marzban, source: str) -> Panel:
    """What we make of its database, or of its API's answer."""
    config = marzban.write().config.read_text()
    if source == "API":
        return read_marzban_answer(json.dumps(marzban.answer()), config)
    return read_marzban(read_tables(marzban.database, MARZBAN_TABLES, "the database of Marzban"), config)


@pytest.mark.parametrize("source", ["first", "0.2", "0.8", "API"])
def test_users_of_each_version(tmp_path: Path, source: str) -> None:
    """Name, UUID, limit, expiry, traffic and state, and the inbound with its pair and short ids."""
    marzban = Marzban(tmp_path / "marzban", ALL, version="0.8" if source == "API" else source)
    panel = users_of(marzban, source)
    assert [(one.name, one.uuid, one.used_bytes, one.is_active) for one in panel.customers] == [
        (user.username, user.uuid, user.used, user.username != "boris") for user in ALL
    ]
    anna = panel.customers[0]
    assert anna.limits == Limits(expires_at=datetime(2030, 1, 1), traffic_bytes=5 * 10**9)  # noqa: DTZ001 - as above
    assert anna.created_at == datetime(2025, 8, 5, 12)  # noqa: DTZ001 - as above
    assert anna.inbound is not None
    assert (anna.inbound.key_pair, anna.inbound.short_ids) == (marzban.pair, tuple(marzban.short_ids))
    assert (panel.left_out, panel.used_bytes) == ((), 36)


USERS: dict[str, tuple[MarzbanUser, Limits, str]] = {
    "on hold": (
        MarzbanUser("anna", more={"status": "on_hold", "on_hold_expire_duration": DAY_S}),
        Limits(expires_after_s=DAY_S),
        "",
    ),
    "by 30 days": (
        MarzbanUser("anna", more={"data_limit": 5, "data_limit_reset_strategy": "month"}),
        Limits(traffic_bytes=5, traffic_window=Window.MONTH),
        "every 30 days",
    ),
    "by the year": (
        MarzbanUser("anna", more={"data_limit": 5, "data_limit_reset_strategy": "year"}),
        Limits(traffic_bytes=5),
        "the limit is a total",
    ),
    "also with another protocol": (MarzbanUser("anna", proxies=("VLESS", "Trojan")), NO_LIMITS, "trojan end"),
}


@pytest.mark.parametrize("what", USERS)
@pytest.mark.parametrize("source", ["0.8", "API"])
def test_limits_of_users(tmp_path: Path, what: str, source: str) -> None:
    """What has no equal here is told in a note."""
    user, limits, note = USERS[what]
    panel = users_of(Marzban(tmp_path / "marzban", [user]), source)
    assert [one.limits for one in panel.customers] == [limits]
    assert note in "".join(panel.notes)


def test_notes_of_users(tmp_path: Path) -> None:
    """A note comes over, and what was used before a reset is told."""
    user = MarzbanUser("anna", more={"note": "paid\nin cash"})
    log: tuple[str, dict[str, object]] = ("user_usage_logs", {"user_id": 1, "used_traffic_at_reset": 77})
    plan: tuple[str, dict[str, object]] = ("next_plans", {"user_id": 1, "data_limit": 1})
    panel = users_of(Marzban(tmp_path / "marzban", [user], more_rows=[log, plan]), "0.8")
    assert [one.note for one in panel.customers] == ["paid\nin cash"]
    assert "(77 bytes)" in panel.notes[0]
    assert "next plan" in panel.notes[1]


@pytest.mark.parametrize("source", ["0.8", "API"])
def test_users_who_are_left_out(tmp_path: Path, source: str) -> None:
    """Without VLESS, excluded from the inbound with REALITY, with a UUID that is none."""
    users = [
        MarzbanUser("trojan", 1, proxies=("Trojan",)),
        MarzbanUser("excluded", 2, excluded=["VLESS REALITY"]),
        MarzbanUser("damaged", 4, uuid="x"),
    ]
    other = {"tag": "VLESS WS", "port": 1, "protocol": "vless", "streamSettings": {"network": "ws"}}
    panel = users_of(Marzban(tmp_path / "marzban", users, more_inbounds=[other]), source)
    assert panel.customers == ()
    assert {*left(panel)} == {"trojan", "excluded", "damaged", 'inbound "VLESS WS"'}
    assert panel.used_bytes == 7


def test_a_database_without_its_config(tmp_path: Path) -> None:
    """All VLESS users come over, without a key pair, and it is told."""
    marzban = Marzban(tmp_path / "marzban", ALL).write()
    panel = read_marzban(read_tables(marzban.database, MARZBAN_TABLES, "the database of Marzban"))
    assert [one.inbound for one in panel.customers] == [None, None, None]
    assert any("--config" in note for note in panel.notes)


@pytest.mark.parametrize(("address", "host"), [("vpn.example.com", "vpn.example.com"), ("{SERVER_IP}", "here")])
def test_the_host_of_old_links(tmp_path: Path, address: str, host: str) -> None:
    """The panel's own where it is plain."""
    row: dict[str, object] = {"address": address, "port": 8443, "inbound_tag": "VLESS REALITY", "is_disabled": 0}
    panel = users_of(Marzban(tmp_path / "marzban", ALL[:1], more_rows=[("hosts", row)]), "0.8")
    assert f"@{host}:8443?" in render_old_link(panel.customers[0], "here")
    (inbound,) = (inbound for inbound, _ in panel.customers[0].inbounds)
    assert (inbound.port, inbound.link_port) == (443, 8443)


def test_a_page_of_an_answer(tmp_path: Path) -> None:
    """The API gives as many users as it was asked for; that there are more is told."""
    answer = Marzban(tmp_path / "marzban", ALL).answer()
    assert not any("pages" in note for note in read_marzban_answer(json.dumps(answer), None).notes)
    panel = read_marzban_answer(json.dumps(answer | {"total": 250}), None)
    assert len(panel.customers) == 3
    assert any("has 3 of 250 users" in note for note in panel.notes)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"users": {}}', '{"detail": "Not authenticated"}'])
def test_an_answer_that_is_none(text: str) -> None:
    """One sentence, by our own error."""
    with pytest.raises(LegacyUnreadable):
        read_marzban_answer(text)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"inbounds": {}}'])
def test_a_config_that_is_none(tmp_path: Path, text: str) -> None:
    """It is named."""
    marzban = Marzban(tmp_path / "marzban", ALL)
    with pytest.raises(LegacyUnreadable, match=r"xray_config\.json"):
        read_marzban_answer(json.dumps(marzban.answer()), text)


@pytest.mark.parametrize("tables", [THREE_X_UI_TABLES, MARZBAN_TABLES])
def test_the_database_of_another_program(tmp_path: Path, tables: dict[str, Sequence[str] | None]) -> None:
    """Each panel's is refused for the other one."""
    mine = Marzban(tmp_path / "m", ALL).write().database
    other = XuiDatabase(tmp_path / "x-ui.db", [XuiInbound([])]).write().path
    with pytest.raises(LegacyUnreadable, match="is not the database of a panel"):
        read_tables(mine if "inbounds" in tables else other, tables, "the database of a panel")
