"""What a key used over time, and who is online, as the API tells it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.support.clients import XrayClient
from tests.support.keys import Key, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo, open_idle, transfer

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]  # what was used in the past is written into the file

# Hours of 90 days ago and more are added up by day, at a moment that a test cannot know.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=10)
HOURS = [(0, 1, 10), (1, 2, 20), (11, 3, 30), (12, 4, 40), (36, 5, 50)]
"""Hours since that noon, bytes up, bytes down."""


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key that used something on two days in the past."""
    key = make_key(service)
    with closing(sqlite3.connect(service.data_dir / "vpnkeys.db")) as database, database:
        for hour, up, down in HOURS:
            at = NOON + timedelta(hours=hour)
            columns = f"up_{at.hour:02}", f"down_{at.hour:02}"
            more = ", ".join(f"{name} = excluded.{name}" for name in columns)
            database.execute(
                f"INSERT INTO traffic_history (day, key_number, up_bytes, down_bytes, {columns[0]}, {columns[1]}) "  # noqa: S608 - our own names
                f"SELECT ?, number, 0, 0, ?, ? FROM keys WHERE uuid = ? ON CONFLICT DO UPDATE SET {more}",
                (str(at.date()), up, down, key["uuid"]),
            )
    yield key
    delete_key(service, key)


def ask(service: Service, key: Key, **query: str) -> httpx.Response:
    """Its history."""
    return service.client.get(f"/api/keys/{key['id']}/traffic/history", params=query)


def points(service: Service, key: Key, **query: str) -> list[tuple[str, int, int]]:
    """Its points."""
    answer = ask(service, key, **query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return [(point["time"], point["up_bytes"], point["down_bytes"]) for point in answer.json()["points"]]


def at(hours: float) -> str:
    """So many hours after that noon, as the API writes it."""
    return (NOON + timedelta(hours=hours)).isoformat()


def test_by_hour(service: Service, key: Key) -> None:
    """In order, hours without traffic left out; `from` counts from its hour on, `to` is not in it."""
    everything = [(at(hour), up, down) for hour, up, down in HOURS]
    assert points(service, key, **{"from": at(-100), "to": at(100)}) == everything
    assert points(service, key, **{"from": at(59 / 60), "to": at(12)}) == everything[:3]
    assert points(service, key, **{"from": f"{at(3)}+03:00", "to": f"{at(1)}Z"}) == everything[:1]
    assert points(service, key, **{"from": at(1), "to": at(1)}) == []


def test_by_day(service: Service, key: Key) -> None:
    """The same bytes, added up."""
    assert points(service, key, **{"from": at(-100), "to": at(100), "step": "day"}) == [
        (at(-12), 6, 60),
        (at(12), 4, 40),
        (at(36), 5, 50),
    ]


@pytest.mark.parametrize(("step", "span"), [("hour", timedelta(days=1)), ("day", timedelta(days=30))])
def test_without_a_span(service: Service, key: Key, step: str, span: timedelta) -> None:
    """The last day by hour, the last 30 days by day; `to` alone is the end of as much."""
    answer = ask(service, key, step=step).json()
    assert answer.keys() == {"key_id", "key_uuid", "step", "from", "to", "points"}
    assert (answer["key_id"], answer["key_uuid"], answer["step"]) == (key["id"], key["uuid"], step)
    begin, end = datetime.fromisoformat(answer["from"]), datetime.fromisoformat(answer["to"])
    assert end - begin == span
    assert abs(end.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    asked = ask(service, key, step=step, to=NOON.isoformat()).json()
    assert (asked["from"], asked["to"]) == ((NOON - span).isoformat(), NOON.isoformat())


def test_the_beginning_of_the_calendar(service: Service, key: Key) -> None:
    """There is no earlier date, and no error either."""
    answer = ask(service, key, to="0001-01-01T00:00:00").json()
    assert (answer["from"], answer["to"], answer["points"]) == ("0001-01-01T00:00:00", "0001-01-01T00:00:00", [])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"from": "2025-08-06", "to": "2025-08-05"}, "invalid_span"),
        ({"from": "2999-01-01"}, "invalid_span"),
        ({"from": "2026-13-01"}, "invalid_request"),
        ({"to": "yesterday"}, "invalid_request"),
        ({"from": ""}, "invalid_request"),
        ({"to": "9999-12-31T23:59:59-01:00"}, "invalid_request"),
        ({"step": "week"}, "invalid_request"),
        ({"step": ""}, "invalid_request"),
    ],
)
def test_a_span_that_is_none(service: Service, key: Key, query: dict[str, str], code: str) -> None:
    """400."""
    answer = ask(service, key, **query)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


@pytest.mark.parametrize("path", ["traffic/history", "online"])
def test_an_unknown_key(service: Service, path: str) -> None:
    """404."""
    answer = service.client.get(f"/api/keys/nobody/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")


def online(service: Service, key: Key) -> dict[str, Any]:
    """Whether the key's customer is online."""
    answer: dict[str, Any] = service.client.get(f"/api/keys/{key['uuid']}/online").raise_for_status().json()
    return answer


def test_who_is_online(service: Service, byte_server: ByteServer, echo: Echo) -> None:
    """By addresses, while they are there; afterwards it is told when that was. New traffic is in the present hour."""
    key = make_key(service)
    assert {name: online(service, key)[name] for name in ("online", "devices", "last_seen")} == {
        "online": False,
        "devices": 0,
        "last_seen": None,
    }
    link = link_of(service, key)
    with XrayClient(link, source="127.0.0.2") as one, XrayClient(link, source="127.0.0.3") as other:
        with open_idle(echo.open(one.socks)), open_idle(echo.open(one.socks)):
            assert wait_until(lambda: online(service, key)["devices"] == 1)
            with open_idle(echo.open(other.socks)):
                assert wait_until(lambda: online(service, key)["devices"] == 2)
                now = online(service, key)
                assert (now["online"], now["last_seen"]) == (True, now["timestamp"])
        with byte_server.open(one.socks) as sock:
            transfer(sock, 1000, 2000)
    assert wait_until(lambda: not online(service, key)["online"])
    assert service.client.get(f"/api/keys/{key['id']}/traffic").json()["total_bytes"] >= 3000
    assert online(service, key)["last_seen"] is not None
    ((_, up, down),) = points(service, key)
    assert up >= 1000
    assert down >= 2000
    delete_key(service, key)
