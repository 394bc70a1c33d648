"""What clients are given says what the link says, keeps ended keys as entries, and lets nothing out for them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import keys
from tests.unit.test_link import KEY, PUBLIC, site

from vpnkeys.domain.forms import Entry, entries_of, mihomo_config, render_links, sing_box_config
from vpnkeys.domain.forms.vless import render_link
from vpnkeys.domain.inbound import ServerIdentity, SiteOf
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.reality import Fingerprint

STOPPED = [
    replace(KEY, is_active=False),
    replace(KEY, limit_status=Status.EXPIRED),
    replace(KEY, limit_status=Status.LIMITED),
]
VLESS = {
    "type": "vless",
    "tag": "user@example.com",
    "server": "2001:db8::1",
    "server_port": KEY.port,
    "uuid": KEY.uuid,
    "flow": "xtls-rprx-vision",
    "packet_encoding": "xudp",
    "tls": {
        "enabled": True,
        "server_name": KEY.sni,
        "utls": {"enabled": True, "fingerprint": "chrome"},
        "reality": {"enabled": True, "public_key": PUBLIC, "short_id": KEY.short_id},
    },
}


def here(*address: str) -> SiteOf:
    """All keys are on one node."""
    reached = site(*address)
    return lambda _key: reached


def entries(*of: Key) -> tuple[Entry, ...]:
    """Entries that call a state by its own word."""
    return entries_of(of, lambda status: status.value)


def outbound(config: dict[str, Any], tag: str) -> dict[str, Any]:
    """The outbound of this name in a configuration of sing-box."""
    (found,) = (one for one in config["outbounds"] if one["tag"] == tag)
    return dict(found)


def test_the_exact_sing_box_configuration() -> None:
    """Everything goes by the VPN; names are resolved beyond it, but for the server's own."""
    assert sing_box_config(entries(KEY), here("2001:db8::1")) == {
        "log": {"level": "warn"},
        "inbounds": [{"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": 2080}],
        "dns": {
            "servers": [
                {"type": "https", "tag": "remote", "server": "1.1.1.1", "detour": "VPN"},
                {"type": "local", "tag": "local"},
            ],
            "final": "remote",
        },
        "outbounds": [
            {"type": "selector", "tag": "VPN", "outbounds": ["user@example.com"]},
            VLESS,
            {"type": "direct", "tag": "direct"},
        ],
        "route": {
            "rules": [],
            "final": "VPN",
            "default_domain_resolver": "local",
            "auto_detect_interface": False,
        },
    }


def test_sing_box_before_1_12_gets_the_dns_that_it_reads() -> None:
    """The rest is the same."""
    old = sing_box_config(entries(KEY), here(), version=(1, 11))
    new = sing_box_config(entries(KEY), here())
    assert old["dns"] == {
        "servers": [
            {"tag": "remote", "address": "https://1.1.1.1/dns-query", "detour": "VPN"},
            {"tag": "local", "address": "local"},
        ],
        "rules": [{"outbound": "any", "server": "local"}],
        "final": "remote",
    }
    assert "default_domain_resolver" not in old["route"]
    assert (old["inbounds"], old["outbounds"]) == (new["inbounds"], new["outbounds"])


def test_an_app_gets_a_tun_device() -> None:
    """It carries the whole device's traffic, but for the local network's."""
    config = sing_box_config(entries(KEY), here(), whole_device=True)
    assert [inbound["type"] for inbound in config["inbounds"]] == ["tun", "mixed"]
    assert config["route"]["auto_detect_interface"] is True
    assert {"ip_is_private": True, "outbound": "direct"} in config["route"]["rules"]


def test_the_exact_mihomo_configuration() -> None:
    """One proxy, one group that has it, and rules that send all but the local network there."""
    config = mihomo_config(entries(KEY), here("[2001:db8::1]"))
    assert config["proxies"] == [
        {
            "name": "user@example.com",
            "type": "vless",
            "server": "2001:db8::1",
            "port": KEY.port,
            "uuid": KEY.uuid,
            "flow": "xtls-rprx-vision",
            "network": "tcp",
            "udp": True,
            "packet-encoding": "xudp",
            "tls": True,
            "servername": KEY.sni,
            "client-fingerprint": "chrome",
            "reality-opts": {"public-key": PUBLIC, "short-id": KEY.short_id},
        }
    ]
    assert config["proxy-groups"] == [{"name": "VPN", "type": "select", "proxies": ["user@example.com"]}]
    assert config["rules"][-1] == "MATCH,VPN"
    assert all(",DIRECT,no-resolve" in rule for rule in config["rules"][:-1])


@pytest.mark.parametrize("name", ["VPN", "DIRECT", "GLOBAL", "REJECT", "direct"])
def test_no_name_is_taken_for_another_thing(name: str) -> None:
    """An entry called like a group or a built-in would make the client refuse the whole file."""
    named = entries(replace(KEY, name=name))
    assert named[0].name != name
    assert mihomo_config(named, here())["proxy-groups"][0]["proxies"] == [named[0].name]
    assert outbound(sing_box_config(named, here()), named[0].name)["uuid"] == KEY.uuid


@given(st.lists(keys(), min_size=1, max_size=6))
def test_every_key_is_one_entry_of_its_own_name(of: list[Key]) -> None:
    """Those that work come first; no client refuses a file for two equal names."""
    named = entries_of(of, lambda status: status.value)
    assert len({entry.name for entry in named}) == len(of)
    assert [entry.works for entry in named] == sorted((key.serves for key in of), reverse=True)
    tags = [one["tag"] for one in sing_box_config(named, here())["outbounds"]]
    assert tags == ["VPN", *(entry.name for entry in named), "direct"]
    assert [one["name"] for one in mihomo_config(named, here())["proxies"]] == [entry.name for entry in named]
    assert len(render_links(named, here()).splitlines()) == len(of)


def test_equal_names_are_numbered() -> None:
    """In the order of the keys."""
    assert [entry.name for entry in entries(KEY, KEY, KEY)] == [KEY.name, f"{KEY.name} (2)", f"{KEY.name} (3)"]


@pytest.mark.parametrize("key", STOPPED, ids=lambda key: key.status)
def test_a_key_that_does_not_work_is_an_entry_that_says_why(key: Key) -> None:
    """Its place is the device itself, where nothing listens; what lets people in is not told, and nothing goes out."""
    ended = entries(key)
    assert [entry.name for entry in ended] == [f"⛔ user@example.com: {key.status.value}"]
    sing_box = sing_box_config(ended, here(), whole_device=True)
    assert sing_box["route"] == {"rules": [{"action": "reject"}]}
    dead = outbound(sing_box, ended[0].name)
    assert (dead["server"], dead["server_port"]) == ("127.0.0.1", 1)
    mihomo = mihomo_config(ended, here())
    assert mihomo["rules"] == ["MATCH,REJECT"]
    assert (mihomo["proxies"][0]["server"], mihomo["proxies"][0]["port"]) == ("127.0.0.1", 1)
    (link,) = render_links(ended, here()).splitlines()
    assert link == (
        "vless://00000000-0000-0000-0000-000000000000@127.0.0.1:1?security=none&encryption=none&type=tcp"
        f"#%E2%9B%94%20user%40example.com%3A%20{key.status.value}"
    )
    written = str([sing_box, mihomo, link])
    assert not [secret for secret in (KEY.uuid, KEY.short_id, PUBLIC) if secret in written]


def test_beside_a_key_that_works_an_ended_one_stays_in_the_list() -> None:
    """The first entry, which clients choose by themselves, is one that works."""
    both = entries(STOPPED[1], KEY)
    names = [KEY.name, f"⛔ {KEY.name}: expired"]
    assert sing_box_config(both, here())["outbounds"][0]["outbounds"] == names
    assert sing_box_config(both, here())["route"]["final"] == "VPN"
    assert mihomo_config(both, here())["proxy-groups"][0]["proxies"] == names
    assert mihomo_config(both, here())["rules"][-1] == "MATCH,VPN"
    assert render_links(both, here()).splitlines()[0] == render_link(KEY, site())


def test_a_key_without_vision_has_no_flow() -> None:
    """As in the link."""
    plain = entries(replace(KEY, flow=""))
    assert "flow" not in outbound(sing_box_config(plain, here()), KEY.name)
    assert "flow" not in mihomo_config(plain, here())["proxies"][0]


def test_both_imitate_the_browser_of_the_link() -> None:
    """The key's own fingerprint, else the server's."""
    edge = replace(site(), fingerprint=Fingerprint.EDGE)

    def of_edge(_key: Key) -> ServerIdentity:
        return edge

    for key, wanted in ((KEY, "edge"), (replace(KEY, fingerprint=Fingerprint.QQ), "qq")):
        tls = outbound(sing_box_config(entries(key), of_edge), KEY.name)["tls"]
        assert tls["utls"] == {"enabled": True, "fingerprint": wanted}
        assert mihomo_config(entries(key), of_edge)["proxies"][0]["client-fingerprint"] == wanted
