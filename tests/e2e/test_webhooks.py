"""Webhooks: whatever happens to keys, traffic and Xray arrives where it should, signed, once or more, in order."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.clients import XrayClient
from tests.support.drift import DRIFTS, Drift
from tests.support.keys import carries, link_of, make_key
from tests.support.process import REPOSITORY
from tests.support.receiver import Receiver, Request
from tests.support.rows import rows_of
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget
from tests.support.webhooks import add, deliveries, wait_settled

pytestmark = pytest.mark.e2e

MENDED = ("config.json deleted", "a wrong private key in config.json", "an inbound removed from the running Xray")


@pytest.fixture(scope="module")
def secure() -> Iterator[Receiver]:
    """A receiver by HTTPS, which the service trusts."""
    with Receiver(tls=True) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...], secure: Receiver) -> Iterator[Service]:
    """A service of this module's own that samples often."""
    settings = {"VPNKEYS_TRAFFIC_INTERVAL_S": "0.2", "SSL_CERT_FILE": str(secure.ca_file)}
    with Service(target, egress_allow=egress, settings=settings, port_count=40) as service:
        service.wait_ready()
        yield service


@pytest.fixture(autouse=True)
def _without_webhooks(service: Service) -> Iterator[None]:
    """No test has another's."""
    yield
    for webhook in service.client.get("/api/webhooks").json():
        service.client.delete(f"/api/webhooks/{webhook['id']}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver by HTTP."""
    with Receiver() as receiver:
        yield receiver


def is_genuine(secret: str, request: Request) -> bool:
    """By the manual's own code."""
    text = (REPOSITORY / "docs" / "en" / "webhooks.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    manual: dict[str, Callable[..., bool]] = {}
    exec(code[1], manual)  # noqa: S102 - our own manual
    headers = request.headers
    told = headers["X-Vpnkeys-Timestamp"], headers["X-Vpnkeys-Signature"]
    return manual["is_genuine"](secret, *told, request.body, time.time())


def test_a_keys_life_is_told_signed(service: Service, secure: Receiver) -> None:
    """Made, changed, deleted, by HTTPS: each with its id, genuine by its signature, and with nothing that opens."""
    webhook = add(service, secure.url)
    key = make_key(service, "Мария")
    service.client.patch(f"/api/keys/{key['id']}", json={"name": "Анна"}).raise_for_status()
    service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
    requests = secure.wait_for_events("key.created", "key.changed", "key.deleted")
    told = [request for request in requests if request.json["data"].get("id") == key["id"]]
    assert [request.json["event"] for request in told] == ["key.created", "key.changed", "key.deleted"]
    assert [request.json["data"]["name"] for request in told] == ["Мария", "Анна", "Анна"]
    for request in told:
        assert is_genuine(webhook["secret"], request)
        assert not is_genuine(webhook["secret"] + "x", request)
        assert request.headers["X-Vpnkeys-Delivery"] == request.json["id"]
        assert key["uuid"] not in request.body.decode()
        assert key["short_id"] not in request.body.decode()
    listed = wait_settled(service, webhook)
    assert [one["id"] for one in reversed(listed)] == [request.json["id"] for request in told]
    assert all(one["attempts"] == 1 and one["delivered_at"] and one["last_error"] is None for one in listed)


def test_limits_that_strike_are_told(service: Service, receiver: Receiver, byte_server: ByteServer) -> None:
    """A quota used up by real traffic, a reset, an expiry, an extension."""
    add(service, receiver.url, "key.limited", "key.expired", "key.active")
    key = make_key(service, "limited")
    path = f"/api/keys/{key['id']}"
    service.client.patch(path, json={"traffic_limit_bytes": 100_000}).raise_for_status()
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as sock:
        transfer(sock, 0, 200_000)
    receiver.wait_for_events("key.limited")
    service.client.post(f"{path}/traffic/reset").raise_for_status()
    receiver.wait_for_events("key.limited", "key.active")
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    service.client.patch(path, json={"expires_at": expires_at.isoformat()}).raise_for_status()
    receiver.wait_for_events("key.limited", "key.active", "key.expired")
    service.client.post("/api/keys/bulk/extend", json={"ids": [key["id"]], "days": 1}).raise_for_status()
    requests = receiver.wait_for_events("key.limited", "key.active", "key.expired", "key.active")
    assert [request.json["data"]["status"] for request in requests] == ["limited", "active", "expired", "active"]
    assert {request.json["data"]["id"] for request in requests} == {key["id"]}


def test_an_xray_that_dies_is_a_gap_and_no_drift(service: Service, receiver: Receiver, byte_server: ByteServer) -> None:
    """Killed after traffic: one gap, with its times. That it came back with what it should have is no news."""
    webhook = add(service, receiver.url)
    key = make_key(service, "gap")
    with XrayClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)
    service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()
    old = service.xray_pid()
    os.kill(old, signal.SIGKILL)
    service.child.wait_for(lambda: service.find_xray_pid() not in {None, old}, "another Xray")
    service.wait_ready()
    requests = receiver.wait_for_events("key.created", "traffic.gap")
    data = next(request.json["data"] for request in requests if request.event == "traffic.gap")
    (gap,) = service.client.get(f"/api/keys/{key['id']}/traffic").json()["gaps"]
    assert (data["since"][:19], data["until"][:19]) == (gap["since"][:19], gap["until"][:19])
    events = [one["event"] for one in wait_settled(service, webhook)]
    assert (events.count("traffic.gap"), events.count("drift.found")) == (1, 0)


@pytest.mark.parametrize("drift", [drift for drift in DRIFTS if drift.name in MENDED], ids=lambda drift: drift.name)
def test_drift_that_is_put_right_is_told(service: Service, receiver: Receiver, drift: Drift) -> None:
    """Once, with what had to be done; keys that come and go by the API are no drift."""
    webhook = add(service, receiver.url)
    key = make_key(service, "drifting")
    drift.make(service, key)
    service.client.post(f"/api/system/{drift.mend}").raise_for_status()
    service.client.post("/api/system/sync-config").raise_for_status()
    service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
    requests = receiver.wait_for_events("key.created", "drift.found", "key.deleted")
    data = next(request.json["data"] for request in requests if request.event == "drift.found")
    assert data["file_rewritten"] is (drift.file is not None)
    assert (data["added"] > 0) is (drift.runtime is not None)
    events = [one["event"] for one in reversed(wait_settled(service, webhook))]
    assert [event for event in events if event != "traffic.gap"] == ["key.created", "drift.found", "key.deleted"]


def test_a_receiver_that_was_down_misses_nothing(service: Service) -> None:
    """Everything comes when it is back, in order; until then the deliveries say what is wrong."""
    with Receiver() as gone:
        port = gone.port
    webhook = add(service, gone.url)
    keys = [make_key(service, f"down {number}") for number in range(3)]
    service.child.wait_for(lambda: deliveries(service, webhook)[-1]["attempts"] >= 2, "a second try")
    *waiting, first = deliveries(service, webhook)
    assert first["last_error"] == "it accepts no connections"
    assert {one["attempts"] for one in waiting} == {0}
    with Receiver(port=port) as back:
        assert service.client.post(f"/api/webhooks/{webhook['id']}/test").json()["delivered"]
        requests = back.wait_for_events("ping", "key.created", "key.created", "key.created")
        assert [request.json["data"].get("id") for request in requests] == [None, *(key["id"] for key in keys)]
        wait_settled(service, webhook)


def test_a_service_that_is_killed_forgets_nothing(
    target: RealityTarget, egress: tuple[str, ...], receiver: Receiver
) -> None:
    """Killed while it sends and while more waits: after the start all of it comes, what was under way a second time."""
    hangs = threading.Event()

    def hang(_: Request) -> int:
        hangs.wait(60)
        return 500

    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        webhook = add(service, receiver.url, "key.created")
        receiver.answer = hang
        keys = [make_key(service, f"killed {number}") for number in range(3)]
        service.child.wait_for(lambda: len(deliveries(service, webhook)) == 3, "three events")
        service.kill()
        assert service.child.wait(10) is not None
        receiver.answer = lambda _: 200
        hangs.set()
        service.start()
        listed = wait_settled(service, webhook)
        ids = [one["id"] for one in reversed(listed)]
        requests = receiver.wait_for(lambda came: {one.json["id"] for one in came} == set(ids))
        assert list(dict.fromkeys(one.json["id"] for one in requests)) == ids
        assert list(dict.fromkeys(one.json["data"]["id"] for one in requests)) == [key["id"] for key in keys]
        assert all(is_genuine(webhook["secret"], one) for one in requests)
        service.stop()


def test_receivers_that_hang_delay_nobody(service: Service, receiver: Receiver) -> None:
    """Keys are made, another webhook is told, and the API answers, while every request to the hanging one hangs."""
    release = threading.Event()

    def hang(_: Request) -> int:
        release.wait(60)
        return 200

    with Receiver() as hanging:
        hanging.answer = hang
        webhooks = [add(service, hanging.url) for _ in range(10)]
        quick = add(service, receiver.url)
        tests = [f"/api/webhooks/{webhook['id']}/test" for webhook in webhooks]
        with ThreadPoolExecutor(10) as pool, service.new_client() as patient:
            answers = [pool.submit(patient.post, path) for path in tests]
            keys = [make_key(service, f"meanwhile {number}") for number in range(5)]
            receiver.wait_for_events(*["key.created"] * 5)
            assert len(service.client.get("/api/keys").json()) >= len(keys)
            assert hanging.requests == [], "none of them has been answered"
            assert not [one for webhook in webhooks for one in deliveries(service, webhook) if one["delivered_at"]]
            release.set()
            assert {answer.result().status_code for answer in answers} == {200}
        wait_settled(service, quick)
    for key in keys:
        service.client.delete(f"/api/keys/{key['id']}")


def test_the_secret_is_told_once_and_never_logged(service: Service, receiver: Receiver) -> None:
    """Not by any other answer, not in the audit log; the log has neither secrets nor URLs, also when sending fails."""
    webhook = add(service, f"{receiver.url}&t=path-secret")
    receiver.answer = lambda _: 500
    path = f"/api/webhooks/{webhook['id']}"
    key = make_key(service, "the customer's name")
    service.client.patch(path, json={"events": ["key.created"]}).raise_for_status()
    tried = service.client.post(f"{path}/test").json()
    assert (tried["delivered"], tried["status"], tried["last_error"]) == (False, 500, "the receiver answered HTTP 500")
    service.child.wait_for(lambda: deliveries(service, webhook)[-1]["attempts"] >= 2, "a second try")
    answers = [service.client.get(place).text for place in ("/api/webhooks", f"{path}/deliveries", "/api/audit")]
    service.client.delete(path).raise_for_status()
    audit = service.client.get("/api/audit", params={"subject": webhook["id"]})
    assert [one["action"] for one in audit.json()] == ["webhook.deleted", "webhook.changed", "webhook.created"]
    secret = webhook["secret"]
    assert len(secret) >= 43
    assert not [text for text in (*answers, audit.text, service.log()) if secret in text]
    assert "path-secret" in answers[0]
    assert not [text for text in (*answers[1:], audit.text, service.log()) if "path-secret" in text]
    assert "the customer's name" not in service.log()
    assert "Traceback" not in service.log()
    assert rows_of(service.database, "SELECT count(*) FROM deliveries WHERE webhook_id = ?", webhook["id"]) == [(0,)]
    service.client.delete(f"/api/keys/{key['id']}")
