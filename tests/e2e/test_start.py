"""Starting: whatever config.json has become meanwhile is put right, and what the operator added stays."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from tests.support.agreement import agreement, list_running, read_config
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, delete_key, lasting, link_of, list_keys, make_key
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer

pytestmark = pytest.mark.e2e

Json = dict[str, Any]


@pytest.fixture(scope="module")
def keys(service: Service) -> list[Key]:
    """Three keys that outlive every start."""
    return [make_key(service) for _ in range(3)]


@pytest.fixture(scope="module")
def own_config(service: Service, keys: list[Key]) -> str:
    """The config.json that the service has made for these keys; it is stopped."""
    assert len(list_keys(service)) == len(keys)
    service.stop()
    return (service.data_dir / "config.json").read_text()


@pytest.fixture
def stopped(service: Service, own_config: str) -> Service:
    """The service, stopped; whatever the test before has done, config.json is of the service's own making."""
    if service.child.running:
        service.stop()
    (service.data_dir / "config.json").write_text(own_config)
    return service


def mute(service: Service, keys: list[Key], server: ByteServer) -> list[int]:
    """The ports of keys that carry nothing."""
    with XrayClient.many([link_of(service, key) for key in keys]) as client:
        return [key["port"] for key, proxy in zip(keys, client.proxies, strict=True) if not carries(proxy, server)]


def write_config(service: Service, content: str | Json) -> None:
    """Put something in config.json's place."""
    text = content if isinstance(content, str) else json.dumps(content)
    (service.data_dir / "config.json").write_text(text)


def start_and_check(service: Service, keys: list[Key], server: ByteServer) -> None:
    """Start: the same keys as ever, all agreed upon, all carrying traffic."""
    service.start()
    service.wait_ready()
    assert [*map(lasting, list_keys(service))] == [*map(lasting, keys)]
    assert agreement(service) == []
    assert mute(service, keys, server) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('{"inbounds": [{"tag": "key-', id="truncated"),
        pytest.param("[]", id="list"),
        pytest.param('{"inbounds": 5}', id="number"),
        pytest.param('{"inbounds": [7]}', id="numbers"),
        pytest.param("{}", id="bare"),
        pytest.param("\x00\xff", id="binary"),
        # Of the first kind, which is no JSON, and of the second, which is no object.
        pytest.param("", id="empty", marks=pytest.mark.soak),
        pytest.param("not JSON", id="text", marks=pytest.mark.soak),
        pytest.param("null", id="null", marks=pytest.mark.soak),
    ],
)
def test_a_spoilt_config_is_written_anew(
    stopped: Service, keys: list[Key], byte_server: ByteServer, content: str
) -> None:
    """A config.json that is empty, cut off, or no configuration at all takes no key away."""
    write_config(stopped, content)
    start_and_check(stopped, keys, byte_server)


def test_a_missing_config_is_written_anew(stopped: Service, keys: list[Key], byte_server: ByteServer) -> None:
    """Without any config.json it comes back from the database."""
    (stopped.data_dir / "config.json").unlink()
    start_and_check(stopped, keys, byte_server)


def _key_inbound(document: Json) -> Json:
    return next(inbound for inbound in document["inbounds"] if inbound["tag"].startswith("key-"))


def _wrong_short_id(inbound: Json) -> None:
    inbound["streamSettings"]["realitySettings"]["shortIds"] = ["0123456789abcdef"]


def _wrong_private_key(inbound: Json) -> None:
    inbound["streamSettings"]["realitySettings"]["privateKey"] = "A" * 42 + "E"


def _wrong_port(inbound: Json) -> None:
    inbound["port"] = free_port()


def _wrong_uuid(inbound: Json) -> None:
    inbound["settings"]["clients"][0]["id"] = "11111111-2222-4333-8444-555555555555"


def _no_client(inbound: Json) -> None:
    inbound["settings"]["clients"] = []


def _one_client_more(inbound: Json) -> None:
    guest = {**inbound["settings"]["clients"][0], "id": "11111111-2222-4333-8444-555555555555", "email": "guest"}
    inbound["settings"]["clients"].append(guest)


def _wrong_target(inbound: Json) -> None:
    inbound["streamSettings"]["realitySettings"]["target"] = "127.0.0.1:1"


@pytest.mark.parametrize(
    "spoil",
    [_wrong_short_id, _wrong_private_key, _wrong_port, _wrong_uuid, _no_client, _one_client_more, _wrong_target],
    ids=lambda spoil: spoil.__name__.strip("_"),
)
def test_a_changed_inbound_is_put_right(
    stopped: Service, keys: list[Key], byte_server: ByteServer, spoil: Callable[[Json], None]
) -> None:
    """A key's inbound that was changed in config.json is again what the database says."""
    document = read_config(stopped)
    spoil(_key_inbound(document))
    write_config(stopped, document)
    start_and_check(stopped, keys, byte_server)


def test_lost_and_foreign_keys_are_put_right(stopped: Service, keys: list[Key], byte_server: ByteServer) -> None:
    """An inbound that is missing comes back; a key's inbound that no key wants goes."""
    document = read_config(stopped)
    stray = deepcopy(_key_inbound(document))
    document["inbounds"].remove(_key_inbound(document))
    document["inbounds"].append({**stray, "tag": "key-stray", "port": stopped.ports[-1]})
    write_config(stopped, document)
    start_and_check(stopped, keys, byte_server)


def test_what_the_operator_added_stays(stopped: Service, keys: list[Key], byte_server: ByteServer) -> None:
    """A foreign inbound, outbound, rule and dns section are kept as they are, and work."""
    port = free_port()
    document = read_config(stopped)
    inbound = {"tag": "mine", "listen": "127.0.0.1", "port": port, "protocol": "socks", "settings": {"auth": "noauth"}}
    outbound = {"tag": "elsewhere", "protocol": "blackhole", "settings": {"response": {"type": "http"}}}
    rule = {"ruleTag": "my-rule", "domain": ["full:blocked.example"], "outboundTag": "elsewhere"}
    dns = {"hosts": {"fixed.example": "192.0.2.1"}, "servers": ["localhost"]}
    document["inbounds"].append(inbound)
    document["outbounds"].append(outbound)
    document["routing"]["rules"].append(rule)
    write_config(stopped, {**document, "dns": dns})
    start_and_check(stopped, keys, byte_server)
    made = make_key(stopped)
    document = read_config(stopped)
    assert inbound in document["inbounds"]
    assert outbound in document["outbounds"]
    assert rule in document["routing"]["rules"]
    assert document["dns"] == dns
    assert "mine" in [running["tag"] for running in list_running(stopped)]
    assert carries(("127.0.0.1", port), byte_server)
    delete_key(stopped, made)


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("outbounds", {"tag": "odd", "protocol": "no-such-protocol"}),
        ("inbounds", {"tag": "odd", "listen": "127.0.0.1", "port": 1, "protocol": "vless", "settings": {}}),
    ],
)
def test_what_xray_refuses_is_put_aside(
    stopped: Service, keys: list[Key], byte_server: ByteServer, section: str, value: Json
) -> None:
    """Foreign sections that Xray does not start with are kept as config.json.refused; customers are served."""
    refused = stopped.data_dir / "config.json.refused"
    refused.unlink(missing_ok=True)
    document = read_config(stopped)
    document[section].append(value)
    write_config(stopped, document)
    start_and_check(stopped, keys, byte_server)
    assert value in json.loads(refused.read_text())[section]
    assert value not in read_config(stopped)[section]
    assert refused.stat().st_mode & 0o077 == 0


def test_a_taken_port_hurts_its_key_alone(stopped: Service, keys: list[Key], byte_server: ByteServer) -> None:
    """Another program on one key's port: all others work, new ones are made; it heals when the port is free."""
    unlucky, *others = keys
    with socket.create_server(("127.0.0.1", unlucky["port"])):
        stopped.start()
        stopped.wait_ready()
        assert [*map(lasting, list_keys(stopped))] == [*map(lasting, keys)]
        assert mute(stopped, others, byte_server) == []
        made = make_key(stopped)
        assert mute(stopped, [made], byte_server) == []
    assert wait_until(lambda: mute(stopped, [unlucky], byte_server) == [])
    delete_key(stopped, made)
    assert agreement(stopped) == []
