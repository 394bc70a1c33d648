"""Which events a change of keys is, and what they tell."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.contract.test_store import NOON, key

from vpnkeys.domain.event import Event, Kind, event_of_drift, event_of_gap, events_of_keys
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.traffic import Gap

ONE = key(1)


def kinds(before: list[Key], after: list[Key]) -> list[Kind]:
    """Of a change."""
    return [event.kind for event in events_of_keys(before, after)]


def test_what_did_not_change_is_no_news() -> None:
    """Equal keys, or none."""
    assert kinds([], []) == []
    assert kinds([ONE], [key(1)]) == []


def test_keys_come_and_go() -> None:
    """Each is told of once, deletions first: a port may have gone from one to the other."""
    assert kinds([ONE], [key(2, port=ONE.port), key(3)]) == [Kind.KEY_DELETED, Kind.KEY_CREATED, Kind.KEY_CREATED]


@pytest.mark.parametrize(
    ("before", "changes", "expected"),
    [
        ({}, {"name": "other"}, [Kind.KEY_CHANGED]),
        ({}, {"port": 20000}, [Kind.KEY_CHANGED]),
        ({}, {"limits": Limits(max_devices=1)}, [Kind.KEY_CHANGED]),
        ({}, {"is_active": False}, [Kind.KEY_CHANGED]),
        ({"is_active": False}, {"is_active": True}, [Kind.KEY_CHANGED, Kind.KEY_ACTIVE]),
        ({}, {"limit_status": Status.LIMITED}, [Kind.KEY_LIMITED]),
        ({}, {"limit_status": Status.EXPIRED}, [Kind.KEY_EXPIRED]),
        ({"limit_status": Status.LIMITED}, {"limit_status": Status.EXPIRED}, [Kind.KEY_EXPIRED]),
        ({"limit_status": Status.EXPIRED}, {"limit_status": Status.ACTIVE}, [Kind.KEY_ACTIVE]),
        ({"is_active": False}, {"limit_status": Status.EXPIRED}, []),
        (
            {"limits": Limits(expires_at=NOON), "limit_status": Status.EXPIRED},
            {"limits": Limits(expires_at=NOON + timedelta(days=1)), "limit_status": Status.ACTIVE},
            [Kind.KEY_CHANGED, Kind.KEY_ACTIVE],
        ),
    ],
)
def test_a_change_is_told_by_what_it_means(
    before: dict[str, object], changes: dict[str, object], expected: list[Kind]
) -> None:
    """Settings that change, and a key that stops or works again; a key that is off anyway stops nobody."""
    was = key(1, **before)
    assert kinds([was], [replace(was, **changes)]) == expected  # type: ignore[arg-type] # fields that are there


def test_a_new_link_is_told_without_what_grants_access() -> None:
    """Which parts are new, and only the server name's value."""
    was = key(1)
    now = replace(was, uuid="f" * 36, first_uuid=was.uuid, short_id="f" * 16, sni="other.example")
    (told,) = events_of_keys([was], [now])
    assert (told.kind, told.data["changed"]) == (Kind.KEY_CHANGED, ["sni", "uuid", "short_id"])
    assert "f" * 16 not in str(told.data)


def test_nothing_told_lets_anybody_in() -> None:
    """Neither UUID nor short id nor key material, in any event of a key."""
    was = key(1, uuid="11111111-2222-4333-8444-555555555555", short_id="0123456789abcdef")
    changed = replace(was, name="other", limit_status=Status.LIMITED)
    told = [Event.of(event, NOON).body() for event in events_of_keys([was, key(2)], [changed, key(3)])]
    assert len(told) == 4
    assert not [body for body in told if was.uuid in body or was.short_id in body]


def test_the_body_says_what_when_and_of_which_key() -> None:
    """In any script, with times in UTC as everywhere in the API."""
    was = key(1, limits=Limits(expires_at=NOON))
    (new,) = events_of_keys([was], [replace(was, name="Мария")])
    event = Event.of(new, NOON)
    body = json.loads(event.body())
    assert (body["id"], body["event"], body["created_at"]) == (event.id, "key.changed", "2025-08-05T12:00:00.000000")
    assert body["data"] == {
        "id": "id-1",
        "name": "Мария",
        "note": "",
        "node": "local",
        "port": 10002,
        "sni": "a.example",
        "status": "active",
        "is_active": True,
        "expires_at": "2025-08-05T12:00:00.000000",
        "traffic_limit_bytes": None,
        "traffic_limit_window": "total",
        "max_devices": None,
        "speed_limit_mbps": None,
        "fingerprint": None,
        "expires_after_s": None,
        "changed": ["name"],
    }


def test_two_tellings_of_one_thing_are_two_events() -> None:
    """The id is what a receiver goes by."""
    (new,) = events_of_keys([], [ONE])
    assert Event.of(new, NOON).id != Event.of(new, NOON).id


def test_gaps_and_drift_in_words() -> None:
    """From when to when; what had to be done."""
    gap = event_of_gap(Gap(NOON, NOON + timedelta(seconds=9)))
    assert gap == (
        Kind.TRAFFIC_GAP,
        {"since": "2025-08-05T12:00:00.000000", "until": "2025-08-05T12:00:09.000000"},
    )
    drift = event_of_drift(file_rewritten=True, removed=1, added=2)
    assert drift == (Kind.DRIFT_FOUND, {"file_rewritten": True, "removed": 1, "added": 2})
