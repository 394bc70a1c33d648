"""The Python client and answers that this service would not give: newer, older, refusing, wrong."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from vpnkeys.client import (
    ApiError,
    AsyncClient,
    Client,
    NotFound,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from vpnkeys.client._tls import _compare, context_for
from vpnkeys.client.agent import ControlPlane


def _client(*answers: httpx.Response) -> Client:
    """A client of a server that gives these answers."""
    rest = iter(answers)
    return Client.over(httpx.Client(base_url="http://test", transport=httpx.MockTransport(lambda _: next(rest))))


def test_fields_of_a_newer_server_are_kept() -> None:
    """What this version does not know is neither an error nor lost."""
    block = {"id": "1", "name": "n", "uuid": "u", "created_at": "2025-08-05T12:00:00.000000", "is_active": True}
    with _client(httpx.Response(200, json=[{**block, "port": 10001, "quota": {"bytes": 5}}])) as client:
        [key] = client.keys.list()
    assert (key.status, key.expires_at, key.traffic_limit_bytes) == (None, None, None)
    assert key.model_extra == {"quota": {"bytes": 5}}
    assert (key.short_id, key.as_sent()["quota"]) == (None, {"bytes": 5})
    assert key.as_sent()["created_at"] == block["created_at"]


def test_an_answer_with_the_specified_fields_alone_is_enough() -> None:
    """Servers that know nothing of this one's additions are understood."""
    answers: Sequence[dict[str, Any]] = [
        {"status": "success", "key_id": "k", "key_uuid": "u", "total_bytes": 7, "timestamp": "2025-11-21T16:00:00"},
        {"message": "m", "status": "synced", "validation": {"synced": True}, "timestamp": 1},
        {"message": "m", "status": "verified", "timestamp": 1},
        {"message": "m", "status": "reset", "timestamp": 1},
    ]
    with _client(*(httpx.Response(200, json=answer) for answer in answers)) as client:
        assert client.keys.traffic("k").as_sent() == answers[0]
        assert client.system.sync_config().as_sent() == answers[1]
        assert client.system.verify_reality().as_sent() == answers[2]
        assert client.system.reset_ports().as_sent() == answers[3]


def test_words_of_a_newer_server_are_read() -> None:
    """What the document lists is what this server sends; another one may say more."""
    block = {"id": "1", "name": "n", "uuid": "u", "created_at": "2025-08-05T12:00:00.000000", "is_active": True}
    with _client(httpx.Response(200, json={**block, "port": 10001, "status": "paused"})) as client:
        assert client.keys.get("1").status == "paused"


def test_all_times_are_moments_in_utc() -> None:
    """Also those of gaps and of ports, whatever number of decimals they have."""
    traffic = {
        "status": "success",
        "key_id": "k",
        "key_uuid": "u",
        "total_bytes": 7,
        "timestamp": "2025-11-21T16:00:00",
    }
    gap = {"since": "2025-11-21T15:00:00", "until": "2025-11-21T15:30:00"}
    port = {"key_id": "k", "key_name": "n", "assigned_at": "2025-08-05T12:00:00.000000"}
    table: dict[str, Any] = {
        "used_ports": {"1": {**port, "uuid": "u", "is_active": True}},
        "port_assignments": {"u": {**port, "port": 1}},
    }
    table |= {"created_at": port["assigned_at"], "last_updated": port["assigned_at"]}
    ports = {"port_assignments": table, "used_ports": 1, "available_ports": 1, "max_ports": 2, "port_range": "1-2"}
    answers: list[dict[str, Any]] = [
        {**traffic, "timestamp": "2025-11-21T16:00:00", "gaps": [gap]},
        {**ports, "timestamp": 1},
    ]
    with _client(*(httpx.Response(200, json=answer) for answer in answers)) as client:
        used, found = client.keys.traffic("k"), client.system.ports()
    assert used.gaps[0].since == datetime(2025, 11, 21, 15, tzinfo=UTC)
    assigned = datetime(2025, 8, 5, 12, tzinfo=UTC)
    assert found.port_assignments.used_ports["1"].assigned_at == found.port_assignments.created_at == assigned
    assert found.port_assignments.port_assignments["u"].assigned_at == found.port_assignments.last_updated == assigned
    assert [used.as_sent(), found.as_sent()] == answers


def test_what_the_server_says_has_a_name_and_a_type() -> None:
    """An inbound without a port, keys that got other ports, what differs in config.json, unfit targets."""
    inbound: dict[str, Any] = {"tag": "t", "port": None, "client_count": 0, "uuids": [], "short_ids": []}
    move = {"key_id": "k", "uuid": "u", "name": "n", "old_port": 2, "new_port": 1}
    target = {"server_name": "a", "target": "a:443", "usable": False, "problems": ["p"], "warnings": []}
    side = {"synced": False, "missing": [], "extra": [], "different": ["u"], "settings": {"u": ["sni"]}}
    done = {"message": "m", "status": "s", "timestamp": 1}
    answers: list[dict[str, Any]] = [
        {"inbounds": [inbound], "timestamp": 1, "source": "config.json"},
        {**done, "changed": [move]},
        {**done, "validation": {"synced": False, "config": side, "problem": "p"}},
        {**done, "targets": [target], "repaired": ["t"], "config_rewritten": True, "warnings": ["p"]},
    ]
    with _client(*(httpx.Response(200, json=answer) for answer in answers)) as client:
        inbounds, reset = client.system.xray_inbounds(), client.system.reset_ports()
        synced, verified = client.system.sync_config(), client.system.verify_reality()
    assert inbounds.inbounds[0].port is None
    assert (reset.changed[0].old_port, reset.changed[0].new_port) == (2, 1)
    config = synced.validation.config
    assert config is not None
    assert (config.settings, synced.validation.problem) == ({"u": ("sni",)}, "p")
    assert (verified.targets[0].usable, verified.repaired, verified.config_rewritten) == (False, ("t",), True)
    assert [answer.as_sent() for answer in (inbounds, reset, synced, verified)] == answers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Unauthorized),
        (404, NotFound),
        (429, TooManyRequests),
        (500, UnexpectedAnswer),
        (502, Unavailable),
        (503, Unavailable),
        (307, UnexpectedAnswer),
    ],
)
def test_every_status_has_its_class(status: int, kind: type[ApiError]) -> None:
    """Code, detail and waiting time come along."""
    problem = httpx.Response(status, json={"code": "c", "detail": "d"}, headers={"Retry-After": "7"})
    with _client(problem) as client, pytest.raises(kind) as refused:
        client.keys.list()
    error = refused.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.retry_after_s) == (status, "c", "d", 7.0)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'"x"', b"\xff"])
def test_an_answer_of_another_program(body: bytes) -> None:
    """200 with something else in it is no key."""
    with _client(httpx.Response(200, content=body)) as client, pytest.raises(UnexpectedAnswer):
        client.keys.get("id")


def test_unhealthy_is_an_answer() -> None:
    """503 with a report is a report; 503 with a problem is none."""
    report = {"status": "unhealthy", "services": {"database": "down"}}
    problem = httpx.Response(503, json={"code": "c"}, headers={"Content-Type": "application/problem+json"})
    with _client(httpx.Response(503, json=report), problem) as client:
        assert client.health().status == "unhealthy"
        with pytest.raises(Unavailable):
            client.health()


@pytest.mark.parametrize("nothing", ["", ".", ".."])
def test_an_empty_id_asks_nobody(nothing: str) -> None:
    """It would be another path: deleting "" must not become something about all keys."""
    with _client() as client, pytest.raises(ValueError, match="id"):
        client.keys.delete(nothing)


def test_a_body_that_cannot_be_unpacked() -> None:
    """A proxy that breaks the compression of an answer is no end of the program that asked."""
    broken = httpx.Response(200, stream=httpx.ByteStream(b"no gzip"), headers={"Content-Encoding": "gzip"})
    with _client(broken) as client, pytest.raises(UnexpectedAnswer, match="unpacked"):
        client.keys.list()


@pytest.mark.parametrize("status", [200, 400])
def test_a_body_of_brackets_within_brackets(status: int) -> None:
    """Deeper than Python follows: neither an answer nor the reason of a refusal, but an error that is documented."""
    with _client(httpx.Response(status, content=b"[" * 100_000)) as client, pytest.raises(ApiError):
        client.keys.list()


def test_an_event_of_brackets_within_brackets() -> None:
    """The same on the stream."""
    stream = httpx.Response(200, content=b"event: keys\ndata: " + b"[" * 100_000 + b"\n\n")
    with _client(stream) as client, pytest.raises(UnexpectedAnswer):
        next(client.events())


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", " ", "\ufeff", "\u200b", "”", "\x00", "\rx"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_api_key_that_no_header_can_have(end: str, kind: type[Client | AsyncClient]) -> None:
    """The end of a line is left out, as of a file it is no part of the key; the rest is refused, and never shown."""
    if not end.strip():
        sent = kind("http://127.0.0.1:1", f"vpnk_secret{end}")._http._client.headers
        assert sent["x-api-key"] == "vpnk_secret"
        return
    with pytest.raises(ValueError, match="X-API-Key") as refused:
        kind("http://127.0.0.1:1", f"vpnk_secret{end}")
    assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match="X-API-Key") as refused:
        ControlPlane("http://127.0.0.1:1", f"vpnk_secret{end}", None)
    assert "secret" not in str(refused.value)


def test_a_header_of_a_client_of_your_own_is_not_shown() -> None:
    """An HTTP client that is handed over may have any; what cannot be sent is no part of the error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with (
            Client.over(httpx.Client(base_url=address, headers={"X-API-Key": "vpnk_secret\r"})) as client,
            pytest.raises(Unavailable) as refused,
        ):
            client.keys.list()
    assert "secret" not in str(refused.value)


def test_an_idempotency_key_that_no_header_can_have() -> None:
    """It is refused before anything is sent."""
    with _client() as client, pytest.raises(ValueError, match="Idempotency-Key"):
        client.keys.create("name", idempotency_key="заказ")


def test_a_wrong_fingerprint_is_said_in_words() -> None:
    """Not as Python's own notation of a tuple."""
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        _compare(context_for(verify=True, fingerprint="ab" * 32), b"another")
    assert str(refused.value).startswith("the server's certificate has the SHA-256 fingerprint ")
