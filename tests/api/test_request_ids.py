"""Every answer of the real server has an id, by which its line in the log is found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from tests.support.keys import make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_BIG = b"x" * 100_000

ASKED = [
    ("GET", "/", {}),
    ("GET", "/health", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/docs", {}),
    ("GET", "/metrics", {}),
    ("GET", "/api/keys", {}),
    ("GET", "/api/keys", {"headers": {"X-API-Key": "wrong-wrong-wrong-wrong"}}),
    ("GET", "/api/keys/nobody", {}),
    ("PUT", "/api/keys", {}),
    ("GET", "/nowhere", {}),
    ("POST", "/api/keys", {"content": b"{"}),
    ("POST", "/api/keys", {"content": _BIG}),
    ("OPTIONS", "/api/keys", {}),
    ("HEAD", "/api/keys", {}),
]


@pytest.mark.parametrize(("method", "path", "more"), ASKED, ids=lambda value: str(value)[:40])
def test_every_answer_has_an_id(service: Service, method: str, path: str, more: dict[str, object]) -> None:
    """Whatever it is; a problem has it inside, too."""
    answer = service.client.request(method, path, **more)  # type: ignore[arg-type]
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16}", request_id)
    if answer.headers.get("content-type") == "application/problem+json" and answer.content:
        assert answer.json()["request_id"] == request_id


def test_answers_on_the_admin_socket_have_one_too(service: Service) -> None:
    """It is the same application."""
    transport = httpx.HTTPTransport(uds=str(service.data_dir / "run" / "admin.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        answer = client.get("/api/keys/nobody", headers={"X-Request-ID": "by-socket"})
    assert (answer.status_code, answer.json()["request_id"]) == (404, "by-socket")
    assert wait_until(lambda: "by this machine [by-socket]" in service.log())


def test_the_audit_log_names_the_request(service: Service) -> None:
    """What was changed leads to the line of the request that changed it."""
    answer = service.client.post("/api/keys", json={"name": "me"}, headers={"X-Request-ID": "order-4711"})
    assert answer.status_code == 200
    (record, *_) = service.client.get("/api/audit", params={"subject": answer.json()["id"]}).json()
    assert record["request_id"] == "order-4711"


def test_everything_that_a_request_said_has_its_id(target: RealityTarget, tmp_path: Path) -> None:
    """In JSON, in the file as on stderr: the access line, and what was said meanwhile in a thread."""
    file = tmp_path / "vpnkeys.log"
    settings = {"VPNKEYS_LOG_FORMAT": "json", "VPNKEYS_LOG_FILE": str(file)}
    with Service(target, settings=settings) as service:
        service.wait_ready()
        answer = service.client.post("/api/keys", json={"name": "me"}, headers={"X-Request-ID": "order-4711"})
        key_id = answer.json()["id"]
        make_key(service)
        assert wait_until(lambda: file.read_text().count("POST /api/keys 200") == 2)
        said = [json.loads(line) for line in file.read_text().splitlines()]
        assert wait_until(lambda: service.log().count("POST /api/keys 200") == 2)
        printed = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    of_it = [one for one in said if one.get("request_id") == "order-4711"]
    assert [one["logger"] for one in of_it] == ["vpnkeys.service.keys", "vpnkeys.access"]
    assert key_id in of_it[0]["message"]
    line = of_it[1]
    assert (line["method"], line["route"], line["status"], line["actor"]) == (
        "POST", "/api/keys", 200, "the first API key",
    )  # fmt: skip
    assert line["duration_ms"] > 0
    assert [one for one in printed if one.get("request_id") == "order-4711"] == of_it
    assert file.stat().st_mode & 0o777 == 0o600
