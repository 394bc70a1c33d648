"""Configurations for clients say what the link says, and let nothing out for a key that does not work."""

from dataclasses import replace

import pytest
from tests.unit.test_link import KEY, PUBLIC, site

from vpnkeys.domain.client_config import mihomo_config, sing_box_config
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.reality import Fingerprint

STOPPED = [
    replace(KEY, is_active=False),
    replace(KEY, limit_status=Status.EXPIRED),
    replace(KEY, limit_status=Status.LIMITED),
]


def test_the_exact_sing_box_configuration() -> None:
    """Everything goes by the VPN; names are resolved beyond it, but for the server's own."""
    assert sing_box_config(KEY, site("2001:db8::1")) == {
        "log": {"level": "warn"},
        "inbounds": [{"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": 2080}],
        "dns": {
            "servers": [
                {"type": "https", "tag": "remote", "server": "1.1.1.1", "detour": "proxy"},
                {"type": "local", "tag": "local"},
            ],
            "final": "remote",
        },
        "outbounds": [
            {
                "type": "vless",
                "tag": "proxy",
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
            },
            {"type": "direct", "tag": "direct"},
        ],
        "route": {
            "rules": [],
            "final": "proxy",
            "default_domain_resolver": "local",
            "auto_detect_interface": False,
        },
    }


def test_an_app_gets_a_tun_device() -> None:
    """It carries the whole device's traffic, but for the local network's."""
    config = sing_box_config(KEY, site("203.0.113.7"), whole_device=True)
    assert [inbound["type"] for inbound in config["inbounds"]] == ["tun", "mixed"]
    assert config["route"]["auto_detect_interface"] is True
    assert {"ip_is_private": True, "outbound": "direct"} in config["route"]["rules"]


def test_the_exact_mihomo_configuration() -> None:
    """One proxy, one group that has it, and rules that send all but the local network there."""
    config = mihomo_config(KEY, site("[2001:db8::1]"))
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


@pytest.mark.parametrize("name", ["VPN", "DIRECT", "GLOBAL", "REJECT"])
def test_no_name_is_taken_for_another_thing(name: str) -> None:
    """A proxy called like a group or a built-in would make the client refuse the whole file."""
    config = mihomo_config(replace(KEY, name=name), site("203.0.113.7"))
    proxy = config["proxies"][0]["name"]
    assert proxy != name
    assert config["proxy-groups"][0]["proxies"] == [proxy]


@pytest.mark.parametrize("key", STOPPED, ids=lambda key: key.status)
def test_a_key_that_does_not_work_lets_nothing_out(key: Key) -> None:
    """Neither by the VPN nor past it; and what lets people in is not told."""
    sing_box = sing_box_config(key, site("203.0.113.7"), whole_device=True)
    assert sing_box["route"] == {"rules": [{"action": "reject"}]}
    mihomo = mihomo_config(key, site("203.0.113.7"))
    assert (mihomo["proxies"], mihomo["proxy-groups"][0]["proxies"]) == ([], ["REJECT"])
    assert key.uuid not in str([sing_box, mihomo])
    assert key.short_id not in str([sing_box, mihomo])


def test_a_key_without_vision_has_no_flow() -> None:
    """As in the link."""
    key = replace(KEY, flow="")
    assert "flow" not in sing_box_config(key, site("203.0.113.7"))["outbounds"][0]
    assert "flow" not in mihomo_config(key, site("203.0.113.7"))["proxies"][0]


def test_both_imitate_the_browser_of_the_link() -> None:
    """The key's own fingerprint, else the server's."""
    for key, wanted in ((KEY, "edge"), (replace(KEY, fingerprint=Fingerprint.QQ), "qq")):
        here = replace(site(), fingerprint=Fingerprint.EDGE)
        tls = sing_box_config(key, here)["outbounds"][0]["tls"]
        assert tls["utls"] == {"enabled": True, "fingerprint": wanted}
        assert mihomo_config(key, here)["proxies"][0]["client-fingerprint"] == wanted
