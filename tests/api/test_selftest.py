"""`POST /api/keys/{key_id}/test`: a real client by the key's own link, and words for whatever keeps it out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support import procfs
from tests.support.agreement import read_config
from tests.support.clients import XrayClient
from tests.support.drift import inbound_of, tag_of
from tests.support.keys import Key, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.socks import connect
from tests.support.streams import Echo, PingPong
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

NAMES = ("one.example.com", "two.example.com")
FIELDS = {
    "key_id": str, "works": bool, "handshake_ms": float, "first_byte_ms": float, "bytes_received": int,
    "counted": bool, "egress": dict, "detail": str, "code": str,
}  # fmt: skip


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key of the test's own."""
    key = make_key(service, "Мария")
    yield key
    delete_key(service, key)


def _test(service: Service, key: Key | str) -> httpx.Response:
    key_id = key if isinstance(key, str) else key["id"]
    return service.client.post(f"/api/keys/{key_id}/test")


def _found(service: Service, key: Key) -> dict[str, Any]:
    answer = _test(service, key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found.keys() == FIELDS.keys()
    assert found["key_id"] == key["id"]
    return found


def _clients(service: Service) -> list[Path]:
    return list((service.data_dir / "run").glob("client-test-*"))


def _testers(service: Service) -> list[int]:
    """The clients that run for a self-test; another kind tests server names now and then."""
    return [pid for pid in procfs.descendants(service.pid) if procfs.mentions(pid, "/client-test-")]


def _total_bytes(service: Service, key: Key) -> int:
    return int(service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()["total_bytes"])


def _xray_api(service: Service, command: str, argument: str) -> None:
    server = f"--server=unix://{service.data_dir / 'run' / 'api.sock'}"
    line = [service.env["VPNKEYS_XRAY_BIN"], "api", command, server, argument]
    subprocess.run(line, check=True, capture_output=True, timeout=60)


def test_a_link_that_works(service: Service, key: Key) -> None:
    """Every field has its type; bytes came back, and were counted as this key's, by id and by UUID alike."""
    found = _found(service, key)
    assert {name: type(value) for name, value in found.items()} == FIELDS
    assert (found["works"], found["counted"], found["code"]) == (True, True, "ok")
    assert 0 < found["handshake_ms"] < found["first_byte_ms"]
    assert _total_bytes(service, key) == found["bytes_received"] > 0
    assert service.client.post(f"/api/keys/{key['uuid']}/test").json()["works"]
    assert _clients(service) == []
    assert _testers(service) == []


def test_a_target_that_customers_may_not_reach_is_not_tried(service: Service, key: Key) -> None:
    """The egress rules of this server forbid loopback, where the forced target is: null, with the reason."""
    egress = _found(service, key)["egress"]
    assert egress["works"] is None
    assert "VPNKEYS_EGRESS_ALLOW" in egress["detail"]


@pytest.mark.parametrize("missing", ["nobody", "5d0c2f0e-8f3d-4c55-9f39-1f5a4ffb9c11"])
def test_an_unknown_key_is_404(service: Service, missing: str) -> None:
    """As everywhere."""
    answer = _test(service, missing)
    assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")


def test_nobody_tests_without_the_api_key(service: Service, key: Key) -> None:
    """It starts a process, and says whether a customer is cut off."""
    with service.new_client("") as stranger:
        assert stranger.post(f"/api/keys/{key['id']}/test").status_code == 401


def test_a_key_that_is_switched_off(service: Service, key: Key) -> None:
    """No failure of the server: the status, and what lifts it."""
    service.client.patch(f"/api/keys/{key['id']}", json={"is_active": False}).raise_for_status()
    found = _found(service, key)
    assert (found["works"], found["code"], found["handshake_ms"], found["counted"]) == (
        False, "key_disabled", None, False,
    )  # fmt: skip
    assert "is_active" in found["detail"]


def test_nobody_listens(service: Service, key: Key) -> None:
    """Told at once, with what puts it right; and that does."""
    _xray_api(service, "rmi", tag_of(key))
    found = _found(service, key)
    assert (found["works"], found["code"]) == (False, "port_not_listening")
    assert str(key["port"]) in found["detail"]
    assert "POST /api/system/sync-config" in found["detail"]
    service.client.post("/api/system/sync-config").raise_for_status()
    assert _found(service, key)["code"] == "ok"


def test_a_server_that_does_not_know_the_link(service: Service, key: Key, tmp_path: Path) -> None:
    """Another short id in the running Xray: the port answers, and lets nobody in."""
    inbound = inbound_of(read_config(service), key)
    inbound["streamSettings"]["realitySettings"]["shortIds"] = ["00112233aabbccdd"]
    file = tmp_path / "inbound.json"
    file.write_text(json.dumps({"inbounds": [inbound]}))
    _xray_api(service, "rmi", tag_of(key))
    _xray_api(service, "adi", str(file))
    found = _found(service, key)
    assert (found["works"], found["code"]) == (False, "handshake_refused")
    assert "sync-config" in found["detail"]
    service.client.post("/api/system/xray/sync-config").raise_for_status()
    assert _found(service, key)["code"] == "ok"


def test_xray_that_hangs_is_503(service: Service, key: Key) -> None:
    """Nothing is known of the key then."""
    pid = service.xray_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = _test(service, key)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (answer.status_code, answer.json()["code"]) == (503, "xray_unavailable")
    assert answer.headers["retry-after"]
    assert _found(service, key)["code"] == "ok"


def test_customers_notice_nothing(service: Service, key: Key, echo: Echo) -> None:
    """A connection of the very key goes on, and the test is no device of its customer."""
    service.client.patch(f"/api/keys/{key['id']}", json={"max_devices": 1}).raise_for_status()
    with (
        XrayClient(link_of(service, key), source="127.0.0.2") as client,
        echo.open(client.socks) as sock,
        PingPong(sock) as pings,
    ):
        assert _found(service, key)["code"] == "ok"
        assert not pings.wait_broken(3.0)
        assert service.client.get(f"/api/keys/{key['id']}/online").json()["devices"] == 1


def test_what_answers_the_test_is_no_door(service: Service, key: Key) -> None:
    """A customer who asks for the test's own host gets Xray's refusal, whatever the port, and nobody beyond it."""
    with XrayClient(link_of(service, key)) as client:
        for port in (80, service.address[1], 22):
            with connect(client.socks, "self-test.vpnkeys.invalid", port, 5.0) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 403 Forbidden")


@pytest.fixture
def open_target(target: RealityTarget) -> Iterator[Service]:
    """A service whose customers may reach the forced target."""
    rule = f"{target.host}/32:{target.port}"
    with Service(target, egress_allow=[rule]) as service:
        service.wait_ready()
        yield service


def test_the_way_out_is_tried(open_target: Service) -> None:
    """Where customers may reach the key's target, a TLS handshake through the tunnel shows the way out."""
    found = _found(open_target, make_key(open_target))
    assert (found["works"], found["egress"]["works"], found["code"]) == (True, True, "ok")


def _kill(target: RealityTarget) -> None:
    target.child.send_signal(signal.SIGKILL)


def _freeze(target: RealityTarget) -> None:
    target.child.send_signal(signal.SIGSTOP)


def _grow(target: RealityTarget) -> None:
    """Show a certificate that Xray cannot carry."""
    target.change_certificate(8197)


@pytest.mark.parametrize("trouble", [_kill, _freeze, _grow], ids=["gone", "hanging", "certificate"])
def test_a_target_that_lets_nobody_in(trouble: Callable[[RealityTarget], None]) -> None:
    """REALITY lets nobody in without its target, and that is what is said, within ten seconds or a little more."""
    with RealityTarget(NAMES, close_idle_s=0.1) as target, Service(target) as service:
        service.wait_ready()
        key = make_key(service)
        trouble(target)
        found = _found(service, key)
        assert (found["works"], found["code"]) == (False, "target_down")
        assert target.address in found["detail"]
        assert f"/api/keys/{key['id']}/rotate" in found["detail"]
        assert _clients(service) == []
        assert _testers(service) == []


def test_a_service_that_is_killed_leaves_no_client() -> None:
    """The client dies with it, and the next start removes its directory. Another test has to wait meanwhile."""
    with RealityTarget(NAMES, close_idle_s=0.1) as target, Service(target) as service:
        service.wait_ready()
        key = make_key(service)
        target.child.send_signal(signal.SIGSTOP)
        tester = threading.Thread(target=_swallow, args=(service, key))
        tester.start()
        assert wait_until(lambda: any(_clients(service)))
        assert wait_until(lambda: len(_testers(service)) == 1)
        refused = _test(service, key)
        assert (refused.status_code, refused.json()["code"]) == (503, "self_test_busy")
        service.kill()
        tester.join(10)
        assert wait_until(lambda: not service.leftover_pids())
        assert len(_clients(service)) == 1
        target.child.send_signal(signal.SIGCONT)
        service.start()
        service.wait_ready()
        assert wait_until(lambda: not _clients(service))
        assert wait_until(lambda: _found(service, key)["code"] == "ok")


def _swallow(service: Service, key: Key) -> None:
    with service.new_client() as client, pytest.raises(httpx.TransportError):
        client.post(f"/api/keys/{key['id']}/test")


def test_the_limit_on_syncs_holds_for_tests(target: RealityTarget) -> None:
    """Each test starts a process: they are limited as repairs are."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "sync=1/minute"}) as service:
        service.wait_ready()
        key = make_key(service)
        assert _test(service, key).status_code == 200
        assert _test(service, key).status_code == 429


def test_the_command_line(service: Service, key: Key) -> None:
    """0 for a link that works, 1 for one that does not, the API's JSON on request."""
    assert service.cli("keys", "test", key["id"]).returncode == 0
    _xray_api(service, "rmi", tag_of(key))
    shut = service.cli("keys", "test", key["uuid"], "--json")
    assert (shut.returncode, json.loads(shut.stdout)["code"]) == (1, "port_not_listening")
    told = service.cli("keys", "test", key["id"])
    assert told.returncode == 1
    assert "port_not_listening" in told.stdout, told.stdout
    assert service.cli("sync").returncode == 0
    assert service.cli("keys", "test", key["id"]).returncode == 0
    assert service.cli("keys", "test", "nobody").returncode == 1
