"""The link, read back by a strict reader that shares no code with the writer."""

from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import keys, private_keys, server_names
from tests.support.link import VlessLink

from vpnkeys.domain.forms.vless import render_link
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import VISION, Key
from vpnkeys.domain.reality import Fingerprint, KeyPair

KEY = Key(
    id="6f0ab2a4-6e0b-4dd5-8a0e-7a3d7d7f3c11",
    name="user@example.com",
    uuid="0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10",
    created_at=datetime(2025, 8, 5, 12),  # noqa: DTZ001 - UTC without an offset, as everywhere
    is_active=True,
    port=10001,
    short_id="0123456789abcdef",
    sni="www.example.com",
)
PUBLIC = KeyPair.of_private("A" * 43).public_key


def site(address: str = "203.0.113.7", public_key: str = PUBLIC) -> ServerIdentity:
    """The server that links lead to."""
    return ServerIdentity("::", "A" * 43, "/run/vpnkeys", (KEY.sni,), "", address, public_key)


def test_the_exact_link() -> None:
    """The order and the spelling that existing bots have seen."""
    assert render_link(KEY, site()) == (
        "vless://0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10@203.0.113.7:10001?security=reality&encryption=none"
        f"&sni=www.example.com&fp=chrome&pbk={PUBLIC}&sid=0123456789abcdef&type=tcp&flow=xtls-rprx-vision"
        "#user%40example.com"
    )


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("user@example.com", "user%40example.com"),
        ("a b", "a%20b"),
        ("#?&%=/+:;,", "%23%3F%26%25%3D%2F%2B%3A%3B%2C"),
        ("Иван", "%D0%98%D0%B2%D0%B0%D0%BD"),
        ("😀", "%F0%9F%98%80"),
        ("-_.!~*'()", "-_.!~*'()"),
        ("%41", "%2541"),
        ('<>"\\^`{|}', "%3C%3E%22%5C%5E%60%7B%7C%7D"),
    ],
)
def test_the_name_is_encoded_as_a_browser_would(name: str, fragment: str) -> None:
    """The fragment is encodeURIComponent of the name."""
    assert render_link(replace(KEY, name=name), site()).partition("#")[2] == fragment


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("vpn.example.com", "vpn.example.com"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("2001:DB8:0:0:0:0:0:1", "[2001:db8::1]"),
        ("::1", "[::1]"),
    ],
)
def test_an_ipv6_address_stands_in_brackets(address: str, host: str) -> None:
    """Otherwise its last part would be taken for the port."""
    link = render_link(KEY, site(address))
    assert f"@{host}:10001?" in link
    assert urlsplit(link).port == 10001


def test_a_key_without_vision_has_no_flow() -> None:
    """An imported link that never had a flow does not get one: the client's and the server's must agree."""
    assert "flow" not in render_link(replace(KEY, flow=""), site())


@given(
    key=keys(),
    address=st.ip_addresses().map(str) | server_names,
    private=private_keys,
)
def test_a_client_reads_everything_back(key: Key, address: str, private: str) -> None:
    """Whatever the name and the address: nothing is lost, and nothing runs over into another part."""
    public = KeyPair.of_private(private).public_key
    link = VlessLink.parse(render_link(replace(key, flow=VISION), site(address, public)))
    assert link == VlessLink(
        uuid=key.uuid,
        host=address,
        port=key.port,
        sni=key.sni,
        public_key=public,
        short_id=key.short_id,
        name=key.name,
        fingerprint=key.fingerprint or "chrome",
    )


@pytest.mark.parametrize("own", [None, *Fingerprint])
def test_the_fingerprint_is_the_key_s_or_the_server_s(own: Fingerprint | None) -> None:
    """A key without one of its own follows the server, whatever that is set to later."""
    link = render_link(replace(KEY, fingerprint=own), replace(site(), fingerprint=Fingerprint.SAFARI))
    assert VlessLink.parse(link).fingerprint == (own or "safari")
