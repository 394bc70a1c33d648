"""A client gets what it asks for, else what it can read."""

import base64
import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from tests.strategies import addresses, keys
from tests.support.link import VlessLink
from tests.support.memory import SITE
from tests.unit.test_link import KEY

from vpnkeys.api.pages.sub_formats import Asker, Format, UnknownFormat, choose, sing_box_version, to_json, write
from vpnkeys.domain.forms import entries_of, mihomo_config
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.reality import KeyPair

HERE = replace(SITE, server_address="2001:db8::1", public_key=KeyPair.of_private("A" * 43).public_key)
BROWSER = Asker("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.mark.parametrize(
    ("user_agent", "form"),
    [
        ("sing-box 1.12.12", Format.SING_BOX),
        ("SFA/1.12.0 (Build 1; sing-box 1.12.0; language ru_RU)", Format.SING_BOX),
        ("SFI/1.11.4 (Build 2; sing-box 1.11.4)", Format.SING_BOX),
        ("SFM/1.12.0", Format.SING_BOX),
        ("SFT/1.12.0", Format.SING_BOX),
        ("mihomo/1.19.0", Format.MIHOMO),
        ("clash.meta", Format.MIHOMO),
        ("ClashMetaForAndroid/2.11.5.Meta", Format.MIHOMO),
        ("clash-verge/v2.0.0", Format.MIHOMO),
        ("FlClash/v0.8.80 clash-verge Platform/android", Format.MIHOMO),
        ("Stash/2.5.0 Clash/1.9.0", Format.MIHOMO),
        ("HiddifyNext/2.5.7 (android) like ClashMeta v2ray sing-box", Format.BASE64),
        ("v2rayNG/1.9.0", Format.BASE64),
        ("v2rayN/7.0", Format.BASE64),
        ("Streisand/1.6", Format.BASE64),
        ("curl/8.5.0", Format.BASE64),
        ("", Format.BASE64),
        ("SFAX/1", Format.BASE64),
    ],
)
def test_a_client_is_known_by_the_program_that_it_names_first(user_agent: str, form: Format) -> None:
    """What it is built on, or likes to be taken for, comes behind and does not count."""
    assert choose(None, Asker(user_agent, "*/*")) is form


def test_a_browser_gets_a_page_and_a_program_in_its_clothes_does_not() -> None:
    """Only who takes HTML is shown it."""
    assert choose(None, BROWSER) is Format.HTML
    assert choose(None, BROWSER._replace(accept="*/*")) is Format.BASE64


@pytest.mark.parametrize("form", Format)
def test_what_is_asked_for_by_name_wins(form: Format) -> None:
    """Whoever asks."""
    assert choose(form.value, BROWSER) is form
    assert choose(form.value, Asker("clash.meta", "")) is form


@pytest.mark.parametrize("wanted", ["", "HTML", "yaml", "<script>"])
def test_a_format_that_is_none_is_refused(wanted: str) -> None:
    """The answer names those that there are, and does not repeat what was asked."""
    with pytest.raises(UnknownFormat) as refused:
        choose(wanted, BROWSER)
    assert "base64" in str(refused.value)
    assert "script" not in str(refused.value)


def written(form: Format, key: Key = KEY, user_agent: str = "") -> str:
    """A subscription."""
    return write(form, entries_of([key], lambda status: status.value), lambda _key: HERE, Asker(user_agent, "")).text


def test_every_form_says_the_same() -> None:
    """The link, the list of it, and both configurations name one place and one key."""
    link = VlessLink.parse(written(Format.LINK).rstrip("\n"))
    assert base64.b64decode(written(Format.BASE64), validate=True).decode() == written(Format.LINK)
    sing_box = json.loads(written(Format.SING_BOX))["outbounds"][1]
    mihomo = yaml.safe_load(written(Format.MIHOMO))["proxies"][0]
    reality = sing_box["tls"]["reality"]
    assert (
        (link.host, link.port, link.uuid, link.sni, link.public_key, link.short_id)
        == (
            sing_box["server"],
            sing_box["server_port"],
            sing_box["uuid"],
            sing_box["tls"]["server_name"],
            reality["public_key"],
            reality["short_id"],
        )
        == (
            mihomo["server"],
            mihomo["port"],
            mihomo["uuid"],
            mihomo["servername"],
            mihomo["reality-opts"]["public-key"],
            mihomo["reality-opts"]["short-id"],
        )
    )


def test_only_an_app_is_given_a_tun_device() -> None:
    """On a command line it would need root."""
    for user_agent, types in (("SFA/1.12.0", ["tun", "mixed"]), ("sing-box 1.12.12", ["mixed"])):
        config = json.loads(written(Format.SING_BOX, user_agent=user_agent))
        assert [inbound["type"] for inbound in config["inbounds"]] == types


@pytest.mark.parametrize(
    ("user_agent", "version"),
    [
        ("SFI/1.11.4 (Build 2; sing-box 1.11.4)", (1, 11)),
        ("SFA/1.12.0 (Build 1; sing-box 1.12.0; language ru_RU)", (1, 12)),
        ("SFA/3.0 (Build 1; sing-box 1.11.0-beta.3)", (1, 11)),
        ("sing-box 1.11.15", (1, 11)),
        ("sing-box/1.9.0", (1, 9)),
        ("SFM/1.11.2", (1, 11)),
        ("SFT/1.14.0", (1, 14)),
        ("sing-box", (1, 12)),
        ("sing-box 99999999999999999999.1", (1, 12)),
        ("Mozilla/5.0", (1, 12)),
    ],
)
def test_the_version_of_a_clients_core_decides_its_form(user_agent: str, version: tuple[int, int]) -> None:
    """What is inside counts, not the app's own number; who does not say gets the newest form."""
    assert sing_box_version(user_agent) == version
    config = json.loads(written(Format.SING_BOX, user_agent=user_agent))
    assert ("address" in config["dns"]["servers"][0]) == (version < (1, 12))


def test_a_key_that_does_not_work_is_named_in_every_form() -> None:
    """None is empty: a client would keep the entry that it had."""
    expired = replace(KEY, limit_status=Status.EXPIRED)
    name = "⛔ user@example.com: expired"
    assert unquote(written(Format.LINK, expired).rstrip().rpartition("#")[2]) == name
    assert base64.b64decode(written(Format.BASE64, expired)).decode() == written(Format.LINK, expired)
    assert json.loads(written(Format.SING_BOX, expired))["outbounds"][1]["tag"] == name
    assert yaml.safe_load(written(Format.MIHOMO, expired))["proxies"][0]["name"] == name


@given(key=keys(), address=addresses)
def test_readers_of_yaml_and_of_json_find_what_was_written(key: Key, address: str) -> None:
    """Whatever a name is made of."""
    there = replace(HERE, server_address=address)
    config = mihomo_config(entries_of([key], lambda status: status.value), lambda _key: there)
    text = to_json(config)
    assert yaml.safe_load(text) == config
    assert json.loads(text) == config


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}\n"),
        ({"a": [], "b": True, "c": 7}, '{\n  "a": [],\n  "b": true,\n  "c": 7\n}\n'),
        ({"a": "no: # 'yes' \""}, '{\n  "a": "no: # \'yes\' \\""\n}\n'),
        ({"a": "Ключ 🦄"}, '{\n  "a": "Ключ 🦄"\n}\n'),
        ({"a": "\u2028\ufeff\uffff\x7f\x85"}, '{\n  "a": "\\u2028\\ufeff\\uffff\\u007f\\u0085"\n}\n'),
    ],
)
def test_the_exact_json(value: dict[str, Any], text: str) -> None:
    """What may not stand in YAML, or breaks a line there, is escaped; an emoji is not, as YAML has no pairs."""
    assert to_json(value) == text
    assert yaml.safe_load(text) == json.loads(text) == value
