"""The Python client and answers that this service would not give: newer, older, refusing, wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from vpnkeys.client import (
    ApiError,
    Client,
    NotFound,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)


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
