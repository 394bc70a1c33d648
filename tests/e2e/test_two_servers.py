"""Two servers on one host: no port is handed out twice, and no data directory serves both."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, delete_key, link_of, list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

PORTS = 8


@pytest.fixture
def servers(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[tuple[Service, Service]]:
    """Both, ready."""
    with Service(target, egress_allow=egress, port_count=PORTS) as one:
        same = {"VPNKEYS_PORT_RANGE": one.env["VPNKEYS_PORT_RANGE"]}
        with Service(target, egress_allow=egress, settings=same) as other:
            one.wait_ready()
            other.wait_ready()
            yield one, other


def _make_off(service: Service) -> Key:
    """A key that is switched off: nothing listens on its port."""
    answer = service.client.post("/api/keys", json={"name": "off", "is_active": False})
    return dict(answer.raise_for_status().json())


def test_no_port_is_handed_out_twice(servers: tuple[Service, Service], byte_server: ByteServer) -> None:
    """Not at once, not the port of a key that is switched off; when one server is gone, its ports are free again."""
    one, other = servers
    with ThreadPoolExecutor(4) as pool:
        makers = [(make_key if number % 2 else _make_off, (one, other)[number // 4]) for number in range(PORTS)]
        made = [job.result() for job in [pool.submit(make, service) for make, service in makers]]
    assert len({key["port"] for key in made}) == PORTS
    answer = other.client.post("/api/keys", json={"name": "too many"})
    assert (answer.status_code, answer.json()["code"]) == (400, "ports_exhausted")
    for service in servers:
        assert service.client.get("/api/system/ports/status").json()["validation"]["valid"]
    # A key that is switched on again finds its port as it was.
    for service in servers:
        for key in list_keys(service):
            body = {"is_active": True}
            assert service.client.patch(f"/api/keys/{key['id']}", json=body).status_code == 200
        with XrayClient.many([link_of(service, key) for key in list_keys(service)]) as client:
            assert all(carries(proxy, byte_server) for proxy in client.proxies)
    # Deleted by one, handed out by the other.
    gone, *_ = list_keys(one)
    delete_key(one, gone)
    assert make_key(other)["port"] == gone["port"]
    # A server that was killed keeps nothing; when it is back, both say what happened meanwhile.
    left = {key["port"] for key in list_keys(one)}
    one.kill()
    assert wait_until(lambda: not one.leftover_pids())
    taken = make_key(other)
    assert taken["port"] in left
    one.start()
    assert wait_until(lambda: "port_taken" in one.client.get("/health").text)
    assert f"port {taken['port']} of key" in one.client.get("/api/system/ports/status").text
    with XrayClient(link_of(other, taken)) as client:
        assert carries(client.socks, byte_server)


def test_a_data_directory_has_one_server_whatever_is_removed_from_it(
    target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer
) -> None:
    """The second one is refused in one line, whose `.lock` is not there or is another file than that of the first."""
    with Service(target, egress_allow=egress) as first:
        first.wait_ready()
        key, lock = make_key(first), first.data_dir / ".lock"
        lock.unlink()
        for _ in range(2):
            second = first.program("serve", timeout=60.0)
            assert second.returncode == 2, second.stderr
            assert f"another vpnkeys uses {first.data_dir}; stop that one first" in second.stderr
            assert "Traceback" not in second.stderr
            lock.touch()
        with XrayClient(link_of(first, key)) as client:
            assert carries(client.socks, byte_server)
        assert first.child.running
