"""The port of a key that another program took: the key can be moved, and nobody else notices."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, delete_key, link_of, list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer

pytestmark = pytest.mark.e2e

LOOKS_S = 12.0  # a repair looks every five seconds whether the port is free


@pytest.fixture(autouse=True)
def no_keys(service: Service) -> Iterator[None]:
    """Each test ends without keys."""
    yield
    for key in list_keys(service):
        delete_key(service, key)


def codes(service: Service) -> set[str]:
    """The codes of `/health`, without what the host of the test cannot have."""
    problems = service.client.get("/health").json()["problems"]
    return {problem["code"] for problem in problems} - {"connections_not_cut"}


def mute(service: Service, keys: list[Key], byte_server: ByteServer) -> list[int]:
    """The ports of keys that carry nothing."""
    with XrayClient.many([link_of(service, key) for key in keys]) as client:
        return [key["port"] for key, proxy in zip(keys, client.proxies, strict=True) if not carries(proxy, byte_server)]


def test_a_key_leaves_a_port_that_was_taken_before_the_start(service: Service, byte_server: ByteServer) -> None:
    """Sync, restart and changes of others work beside it; it is told in /health, and `ports/reset` moves it."""
    unlucky, *others = [make_key(service) for _ in range(3)]
    service.stop()
    with socket.create_server(("127.0.0.1", unlucky["port"])):
        service.start()
        service.wait_ready()
        assert wait_until(lambda: codes(service) == {"port_taken"})
        assert 'vpnkeys_problem{code="port_taken"} 1.0' in service.client.get("/metrics").text
        for path in ("sync-config", "verify-reality", "xray/sync-config", "fix-reality-keys"):
            assert service.client.post(f"/api/system/{path}").status_code == 200
        assert mute(service, others, byte_server) == []
        for is_active in (False, True):
            answer = service.client.patch(f"/api/keys/{others[0]['id']}", json={"is_active": is_active})
            assert answer.status_code == 200
        assert _switch(service, unlucky, is_active=False) == (200, None)
        assert wait_until(lambda: codes(service) == set())
        assert _switch(service, unlucky, is_active=True) == (503, "port_taken")
        assert [key["status"] for key in list_keys(service)] == ["disabled", "active", "active"]
        moved = service.client.post("/api/system/ports/reset").json()["changed"]
        assert unlucky["id"] in [move["key_id"] for move in moved]
        assert _switch(service, unlucky, is_active=True) == (200, None)
        assert mute(service, list_keys(service), byte_server) == []
    assert agreement(service) == []
    assert codes(service) == set()


def test_a_working_key_is_moved_and_another_program_keeps_its_connections(
    service: Service, byte_server: ByteServer
) -> None:
    """The log has one line for the change of state, not one for each look; no connection of the program is cut."""
    unlucky, other = make_key(service), make_key(service)
    port = unlucky["port"]
    service.stop()
    with socket.create_server(("127.0.0.1", port)) as server:
        visitor = socket.create_connection(("127.0.0.1", port))
        program = server.accept()[0]
        service.start()
        service.wait_ready()
        assert wait_until(lambda: codes(service) == {"port_taken"})
        lines = len(_lines_about(service, port))
        time.sleep(LOOKS_S)
        assert len(_lines_about(service, port)) == lines
        link = link_of(service, other)
        moved = service.cli("keys", "set", unlucky["id"], "--port", "0", "--json")
        assert (moved.returncode, moved.stderr) == (0, "")
        assert wait_until(lambda: codes(service) == set())
        assert link_of(service, other) == link
        assert mute(service, list_keys(service), byte_server) == []
        assert port not in {key["port"] for key in list_keys(service)}
        program.sendall(b"still here")
        assert visitor.recv(100) == b"still here"
        made = make_key(service)
        assert made["port"] != port
        for key in (unlucky, other, made):
            delete_key(service, key)
        visitor.close()
        program.close()
    assert wait_until(lambda: codes(service) == set())


def test_a_key_starts_by_itself_when_its_port_is_free_again(service: Service, byte_server: ByteServer) -> None:
    """Without a word from anybody."""
    key = make_key(service)
    service.stop()
    with socket.create_server(("127.0.0.1", key["port"])):
        service.start()
        service.wait_ready()
        assert wait_until(lambda: codes(service) == {"port_taken"})
        (issue,) = service.client.get("/api/system/ports/status").json()["validation"]["issues"]
        assert f"port {key['port']} of key {key['id']} is taken by another program" in issue
    assert wait_until(lambda: codes(service) == set())
    assert mute(service, [key], byte_server) == []


def _switch(service: Service, key: Key, *, is_active: bool) -> tuple[int, str | None]:
    """The status and the code of the answer; an error says what to do."""
    answer = service.client.patch(f"/api/keys/{key['id']}", json={"is_active": is_active})
    body = answer.json()
    if answer.status_code != 200:
        assert f"vpnkeys keys set {key['id']} --port 0" in body["detail"]
        assert f"port {key['port']}" in body["detail"]
    return answer.status_code, body.get("code")


def _lines_about(service: Service, port: int) -> list[str]:
    return [line for line in service.log().splitlines() if "vpnkeys.access" not in line and str(port) in line]
