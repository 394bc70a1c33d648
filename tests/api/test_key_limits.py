"""Limits over the API: each can be given, changed and lifted; what is wrong is refused, and then nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.support.agreement import agreement, read_config
from tests.support.keys import Key, lasting, list_keys, make_key
from tests.support.room import can_make_rooms
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

PORTS = 8
# The kernel limits speeds for root alone; where these tests run as somebody else, there is no such field to set.
SPEED = {"speed_limit_mbps": 100} if can_make_rooms() else {}
FIELDS: dict[str, Any] = {
    "name": "Иван Петров",
    "is_active": False,
    "note": "two\nlines\tand 🦄",
    "expires_at": "2031-12-31T23:59:59.000000",
    "traffic_limit_bytes": 10**18,
    "traffic_limit_window": "month",
    "max_devices": 3,
    **SPEED,
}
NULLABLE = ["expires_at", "traffic_limit_bytes", "max_devices", *SPEED]
JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service with few ports."""
    with Service(target, port_count=PORTS) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """The only key; afterwards database, file and Xray agree, with the keys that were made and without them."""
    _delete_all(service)
    yield make_key(service, "the key")
    assert agreement(service) == []
    _delete_all(service)
    assert agreement(service) == []
    assert "Traceback" not in service.log()


def _delete_all(service: Service) -> None:
    ids = [key["id"] for key in list_keys(service)]
    if ids:
        assert service.client.post("/api/keys/bulk/delete", json={"ids": ids}).json()["deleted"] == len(ids)


def change(service: Service, key: Key, **fields: object) -> Key:
    """PATCH; the key as it is answered, and as it is told from then on."""
    answer = service.client.patch(f"/api/keys/{key['id']}", json=fields)
    assert answer.status_code == httpx.codes.OK, answer.text
    changed: Key = answer.json()
    assert service.client.get(f"/api/keys/{key['uuid']}").json() == changed
    assert changed in list_keys(service)
    return changed


def check_refused(answer: httpx.Response, status: int = 400, code: str | None = None) -> None:
    """A problem of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert code in {None, answer.json()["code"]}, answer.text


class TestChange:
    """`PATCH /api/keys/{id}`."""

    @pytest.mark.parametrize("field", FIELDS)
    def test_one_field_alone(self, service: Service, key: Key, field: str) -> None:
        """It is as it was given; all others stay, and so does the link but for its name."""
        config = service.client.get(f"/api/keys/{key['id']}/config").json()
        changed = change(service, key, **{field: FIELDS[field]})
        status = {"status": "disabled"} if field == "is_active" else {}
        assert lasting(changed) == lasting({**key, field: FIELDS[field], **status})
        after = service.client.get(f"/api/keys/{key['id']}/config").json()
        assert after["vless_url"].partition("#")[0] == config["vless_url"].partition("#")[0]

    def test_all_together_and_lifted_again(self, service: Service, key: Key) -> None:
        """Without a value there is no limit; what is not given stays."""
        full = {**key, **FIELDS, "status": "disabled"}
        assert lasting(change(service, key, **FIELDS)) == lasting(change(service, key)) == lasting(full)
        lifted = change(service, key, **dict.fromkeys(NULLABLE), is_active=True)
        assert lasting(lifted) == lasting({**full, **dict.fromkeys(NULLABLE), "is_active": True, "status": "active"})

    @pytest.mark.parametrize("field", NULLABLE)
    def test_one_limit_lifted(self, service: Service, key: Key, field: str) -> None:
        """The others stay."""
        full = change(service, key, **FIELDS)
        assert lasting(change(service, key, **{field: None})) == lasting({**full, field: None})

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("2031-12-31T23:59:59Z", "2031-12-31T23:59:59.000000"),
            ("2031-12-31T23:59:59.123456+03:00", "2031-12-31T20:59:59.123456"),
            ("2031-12-31T23:59:59", "2031-12-31T23:59:59.000000"),
            ("2031-12-31", "2032-01-01T00:00:00.000000"),
            ("9999-12-31", "9999-12-31T23:59:59.999999"),
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00.000000"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ],
    )
    def test_dates_are_told_in_utc(self, service: Service, key: Key, given: str, told: str) -> None:
        """With an offset or without, at the ends of the calendar too; a date is its end."""
        changed = change(service, key, expires_at=given)
        assert changed["expires_at"] == told
        assert changed["status"] == ("expired" if told < "2025" else "active")

    def test_names_are_trimmed(self, service: Service, key: Key) -> None:
        """White space around them is none of the customer's."""
        assert change(service, key, name="  \u00a0Мария\u3000")["name"] == "Мария"

    def test_whole_numbers_may_have_a_point(self, service: Service, key: Key) -> None:
        """JSON knows one kind of number: 5.0 is 5."""
        assert change(service, key, max_devices=5.0)["max_devices"] == 5

    def test_an_unknown_key(self, service: Service, key: Key) -> None:
        """404, and all others are as they were."""
        check_refused(service.client.patch("/api/keys/nobody", json={"note": "x"}), 404, "key_not_found")
        assert list_keys(service) == [key]


_DATES = [
    "yesterday",
    "",
    "2031-13-01",
    "2031-02-30T00:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-01:00",
]
_WRONG: dict[str, list[object]] = {
    "expires_at": [*_DATES, 1, 1.5, True, [], "1924991999"],
    "traffic_limit_bytes": [True, False, 0, -1, 1.5, 2**63, 2**64, 10**18 + 1, "5", [], "5G"],
    "max_devices": [True, 0, -1, 1.5, 1001, 2**63, "5"],
    "speed_limit_mbps": [True, 0, -1, 1.5, 100_001, 2**63, "5"],
    "traffic_limit_window": ["year", "", "Month", None, 1, True],
    "is_active": [None, 1, 0, "true", "", []],
    "name": [None, "", "  ", "x" * 129, "🦄" * 129, 1, "a\nb", "a\x00b", "\ud800"],
    "note": [None, "x" * 1001, 1, "a\x00b", "\x1b[31m", "a\rb", "a\x7f", "a\x85b", "\udfff"],
}
WRONG = [(field, value) for field, values in _WRONG.items() for value in values]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_value_changes_nothing(service: Service, field: str, value: object) -> None:
    """400, for a change of a key, for a new one and in bulk, also beside right values; nothing is touched."""
    if not list_keys(service):
        make_key(service, "stays")
    before = list_keys(service), read_config(service)
    body = {**FIELDS, field: value}
    for method, path, wrong in (
        ("PATCH", f"/api/keys/{before[0][0]['id']}", {field: value}),
        ("PATCH", f"/api/keys/{before[0][0]['id']}", body),
        ("POST", "/api/keys", body),
        ("POST", "/api/keys/bulk", {"keys": [FIELDS, body]}),
    ):
        content = json.dumps(wrong).encode("ascii")
        check_refused(service.client.request(method, path, content=content, headers=JSON_TYPE))
    assert (list_keys(service), read_config(service)) == before


class TestCreate:
    """`POST /api/keys` and `POST /api/keys/bulk`."""

    def test_with_limits(self, service: Service, key: Key) -> None:
        """A key has from its making what was given, and nothing else."""
        answer = service.client.post("/api/keys", json=FIELDS).json()
        assert {name: answer[name] for name in FIELDS} == FIELDS
        assert answer["status"] == "disabled"
        assert {name: key[name] for name in NULLABLE} == dict.fromkeys(NULLABLE)
        assert (key["note"], key["traffic_limit_window"], key["status"]) == ("", "total", "active")

    def test_statuses_are_true(self, service: Service, key: Key) -> None:
        """An expired key is expired from the start; a switched-off one is `disabled` whatever its limits say."""
        expired = service.client.post("/api/keys", json={"name": "x", "expires_at": "2020-01-01T00:00:00Z"}).json()
        assert (expired["status"], expired["is_active"]) == ("expired", True)
        assert change(service, expired, is_active=False)["status"] == "disabled"
        assert change(service, expired, expires_at=None)["status"] == "disabled"
        assert change(service, expired, is_active=True)["status"] == "active"

    def test_the_same_request_again(self, service: Service, key: Key) -> None:
        """One Idempotency-Key, one key, with its limits; with other limits it is refused."""
        headers = {"Idempotency-Key": key["id"]}
        first = service.client.post("/api/keys", json=FIELDS, headers=headers).json()
        assert service.client.post("/api/keys", json=FIELDS, headers=headers).json() == first
        other = service.client.post("/api/keys", json={**FIELDS, "max_devices": 4}, headers=headers)
        check_refused(other, 400, "idempotency_key_reused")
        assert len(list_keys(service)) == 2

    def test_many_at_once(self, service: Service, key: Key) -> None:
        """In the order of the request, each with its own limits, each with its own port."""
        made = service.client.post("/api/keys/bulk", json={"keys": [{"name": "a"}, FIELDS, {"name": " b "}]}).json()
        assert [one["name"] for one in made] == ["a", FIELDS["name"], "b"]
        assert len({one["port"] for one in [key, *made]}) == 4
        assert [one.pop("ignored_fields") for one in made] == [[], [], []]
        assert sorted(list_keys(service), key=lambda key: key["id"]) == sorted([key, *made], key=lambda key: key["id"])

    @pytest.mark.parametrize(
        ("names", "code"),
        [
            (["a", "b", " "], "invalid_name"),
            (["x"] * PORTS, "ports_exhausted"),
            ([], "invalid_request"),
            (["x"] * 1001, "invalid_request"),
        ],
        ids=["a bad name", "one too many", "none", "1001"],
    )
    def test_all_or_nothing(self, service: Service, key: Key, names: list[str], code: str) -> None:
        """One that cannot be made: none is made."""
        config = read_config(service)
        check_refused(
            service.client.post("/api/keys/bulk", json={"keys": [{"name": name} for name in names]}), 400, code
        )
        assert (list_keys(service), read_config(service)) == ([key], config)


class TestDeleteMany:
    """`POST /api/keys/bulk/delete`."""

    def test_all_of_them(self, service: Service, key: Key) -> None:
        """By id or UUID, each once however often it is named."""
        other, third = make_key(service), make_key(service)
        ids = [key["id"], other["uuid"], key["uuid"], other["uuid"]]
        answer = service.client.post("/api/keys/bulk/delete", json={"ids": ids})
        assert answer.json() == {"message": "Keys deleted successfully", "deleted": 2}
        assert list_keys(service) == [third]

    def test_one_unknown_keeps_all(self, service: Service, key: Key) -> None:
        """404, and nobody is gone."""
        answer = service.client.post("/api/keys/bulk/delete", json={"ids": [key["id"], "nobody"]})
        check_refused(answer, 404, "key_not_found")
        assert list_keys(service) == [key]

    @pytest.mark.parametrize("body", [{"ids": []}, {}, {"ids": "x"}, {"ids": [1]}, {"ids": None}, []], ids=repr)
    def test_what_names_no_keys(self, service: Service, key: Key, body: object) -> None:
        """400: nothing is never taken for all."""
        check_refused(service.client.post("/api/keys/bulk/delete", json=body))
        assert list_keys(service) == [key]


class TestExtend:
    """`POST /api/keys/bulk/extend`."""

    def test_later_by_days(self, service: Service, key: Key) -> None:
        """From its date, or from now when that is past, and then it works again; what never expires stays so."""
        running = change(service, make_key(service), expires_at="2031-12-31T00:00:00")
        expired = change(service, make_key(service), expires_at="2020-01-01T00:00:00")
        ids = [key["id"], running["uuid"], expired["id"], running["id"]]
        answer = service.client.post("/api/keys/bulk/extend", json={"ids": ids, "days": 30}).json()
        assert [one["id"] for one in answer] == [key["id"], running["id"], expired["id"]]
        assert answer[0] == key
        assert answer[1] == {**running, "expires_at": "2032-01-30T00:00:00.000000"}
        until = datetime.fromisoformat(answer[2]["expires_at"]).replace(tzinfo=UTC)
        assert timedelta(days=30) - (until - datetime.now(UTC)) < timedelta(minutes=1)
        assert (expired["status"], answer[2]["status"]) == ("expired", "active")

    def test_the_end_of_the_calendar(self, service: Service, key: Key) -> None:
        """There is no later date, and no error either."""
        change(service, key, expires_at="9999-12-01T00:00:00")
        answer = service.client.post("/api/keys/bulk/extend", json={"ids": [key["id"]], "days": 3650}).json()
        assert answer[0]["expires_at"] == "9999-12-31T23:59:59.999999"

    @pytest.mark.parametrize("days", [0, -1, 3651, True, 1.5, "5", None, 2**63])
    def test_a_wrong_number_of_days(self, service: Service, key: Key, days: object) -> None:
        """400, and nothing is extended."""
        dated = change(service, key, expires_at="2031-12-31T00:00:00")
        check_refused(service.client.post("/api/keys/bulk/extend", json={"ids": [key["id"]], "days": days}))
        assert list_keys(service) == [dated]

    def test_one_unknown_extends_none(self, service: Service, key: Key) -> None:
        """404."""
        dated = change(service, key, expires_at="2031-12-31T00:00:00")
        body = {"ids": [key["id"], "nobody"], "days": 1}
        check_refused(service.client.post("/api/keys/bulk/extend", json=body), 404, "key_not_found")
        assert list_keys(service) == [dated]
