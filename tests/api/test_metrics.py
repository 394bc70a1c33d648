"""`/metrics` tells the truth about a real server, to those who may ask."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.clients import XrayClient
from tests.support.keys import delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

BYTES = 300_000
FAMILIES = {
    "vpnkeys_build_info", "vpnkeys_certificate_expiry_seconds", "vpnkeys_database_up", "vpnkeys_drift",
    "vpnkeys_http_request_duration_seconds", "vpnkeys_http_requests", "vpnkeys_key_traffic_bytes", "vpnkeys_keys",
    "vpnkeys_sampling_lag_seconds", "vpnkeys_server_names_ready", "vpnkeys_target_up", "vpnkeys_traffic_bytes",
    "vpnkeys_traffic_gaps", "vpnkeys_worker_last_success_age_seconds", "vpnkeys_worker_late", "vpnkeys_xray_restarts",
    "vpnkeys_xray_up", "vpnkeys_node_state", "vpnkeys_node_keys", "vpnkeys_node_places", "vpnkeys_node_traffic_bytes",
    "vpnkeys_node_info", "process_open_fds",
    "process_resident_memory_bytes", "process_start_time_seconds", "process_cpu_seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """One that samples often."""
    with Service(target, egress_allow=egress, settings={"VPNKEYS_TRAFFIC_INTERVAL_S": "0.2"}) as service:
        service.wait_ready()
        yield service


def scrape(service: Service, client: httpx.Client | None = None) -> dict[tuple[str, ...], float]:
    """All samples, by name and sorted label values."""
    answer = (client or service.client).get("/metrics")
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_family_is_there(service: Service) -> None:
    """In Prometheus' own format; OpenMetrics for whoever asks for it."""
    assert wait_until(lambda: ("vpnkeys_drift", "file") in scrape(service))
    assert wait_until(lambda: ("vpnkeys_sampling_lag_seconds",) in scrape(service))
    answer = service.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert names >= FAMILIES
    modern = service.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.text.endswith("# EOF\n")


def test_it_is_not_for_everybody(service: Service) -> None:
    """Without a key 401; a token with the smallest scope is enough, sent as Prometheus sends it."""
    with service.new_client(api_key="") as nobody:
        refused = nobody.get("/metrics")
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        token = service.client.post("/api/tokens", json={"name": "prometheus", "scope": "read"}).json()["token"]
        nobody.headers["Authorization"] = f"Bearer {token}"
        assert scrape(service, nobody)["vpnkeys_xray_up",] == 1


def test_requests_are_counted_by_template(service: Service) -> None:
    """No id and no path makes a series of its own, however many are asked for."""
    for number in range(5):
        service.client.get(f"/api/keys/made-up-{number}")
        service.client.get(f"/made-up-{number}")
    service.client.request("PROPFIND", "/made-up")
    found = scrape(service)
    assert found["vpnkeys_http_requests_total", "GET", "/api/keys/{key_id}", "404"] >= 5
    assert found["vpnkeys_http_requests_total", "GET", "unmatched", "404"] >= 5
    assert found["vpnkeys_http_requests_total", "OTHER", "unmatched", "404"] >= 1
    assert found["vpnkeys_http_request_duration_seconds_count", "GET", "/api/keys/{key_id}"] >= 5
    assert not any("made-up" in label for labels in found for label in labels)


def test_a_deleted_key_s_traffic_stays_counted(service: Service, byte_server: ByteServer) -> None:
    """By key while it is there, by id and never by name; in the sum for ever, whatever is reset."""
    before = scrape(service)
    key = make_key(service, "somebody's name")
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as sock:
        transfer(sock, BYTES, BYTES)

    def counted() -> bool:
        found = scrape(service)
        return all(found["vpnkeys_key_traffic_bytes_total", way, key["id"]] >= BYTES for way in ("up", "down"))

    assert wait_until(counted)
    service.client.post(f"/api/keys/{key['id']}/traffic/reset").raise_for_status()
    assert counted()
    during = scrape(service)
    delete_key(service, key)
    after = scrape(service)
    assert ("vpnkeys_key_traffic_bytes_total", "up", key["id"]) not in after
    for way in ("up", "down"):
        name = ("vpnkeys_traffic_bytes_total", way)
        assert after[name] >= during[name] >= before[name] + BYTES
    assert "somebody" not in service.client.get("/metrics").text


def test_a_server_alone_has_the_series_of_its_one_node(service: Service) -> None:
    """With the same bytes and keys; but no lag and no report, as it is its own."""
    found = scrape(service)
    assert found["vpnkeys_node_state", "local", "up"] == 1
    assert found["vpnkeys_node_keys", "local"] == len(service.client.get("/api/keys").json())
    assert found["vpnkeys_node_places", "local"] == len(service.ports)
    for way in ("up", "down"):
        name = ("vpnkeys_node_traffic_bytes_total", way, "local")
        assert found[name] == found["vpnkeys_traffic_bytes_total", way]
    assert not {("vpnkeys_node_lag_seconds", "local"), ("vpnkeys_node_seen_age_seconds", "local")} & found.keys()


def test_keys_are_counted_by_status(service: Service) -> None:
    """A key that is switched off moves from one to the other."""
    before = scrape(service)
    key = make_key(service)
    service.client.patch(f"/api/keys/{key['id']}", json={"is_active": False}).raise_for_status()
    after = scrape(service)
    assert after["vpnkeys_keys", "disabled"] == before["vpnkeys_keys", "disabled"] + 1
    assert after["vpnkeys_keys", "active"] == before["vpnkeys_keys", "active"]
    delete_key(service, key)


def test_an_xray_that_ends_is_seen(service: Service) -> None:
    """A killed one is a restart and a gap; a hanging one keeps no scrape waiting for long."""
    assert wait_until(lambda: ("vpnkeys_sampling_lag_seconds",) in scrape(service))
    before = scrape(service)
    os.kill(service.xray_pid(), signal.SIGKILL)

    def is_seen() -> bool:
        after = scrape(service)
        names = [("vpnkeys_xray_restarts_total",), ("vpnkeys_traffic_gaps_total",)]
        return all(after[name] == before[name] + 1 for name in names) and after["vpnkeys_xray_up",] == 1

    assert wait_until(is_seen)
    os.kill(service.xray_pid(), signal.SIGSTOP)
    try:
        assert wait_until(lambda: scrape(service)["vpnkeys_sampling_lag_seconds",] > 1)
    finally:
        os.kill(service.xray_pid(), signal.SIGCONT)
    service.wait_ready()
    assert wait_until(lambda: scrape(service)["vpnkeys_sampling_lag_seconds",] < 1)


def test_the_backup_s_age_is_told_once_there_is_one(service: Service) -> None:
    """Before that it is left out; it grows."""
    assert wait_until(lambda: ("vpnkeys_backup_age_seconds",) not in scrape(service))
    (service.data_dir / "backups").mkdir(exist_ok=True)
    made = service.data_dir / "backups" / "vpnkeys-20260101-000000.backup"
    made.write_bytes(b"")
    os.utime(made, (time.time() - 3600,) * 2)
    assert 3600 <= scrape(service)["vpnkeys_backup_age_seconds",] < 3700
    made.unlink()
