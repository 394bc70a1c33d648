"""`vpnkeys keys add` and `keys set` with limits, against the real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.keys import Key, delete_key, list_keys, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key."""
    key = make_key(service, "of the command line")
    yield key
    delete_key(service, key)


LIMITS = ["--expires", "2031-12-31T23:59:59+03:00", "--traffic-limit", "1.5GB", "--window", "month"]
MORE = ["--devices", "2", "--note", "a note", "--inactive"]
AS_JSON = {
    "expires_at": "2031-12-31T20:59:59.000000",
    "traffic_limit_bytes": 1_500_000_000,
    "traffic_limit_window": "month",
    "max_devices": 2,
    "note": "a note",
    "is_active": False,
    "status": "disabled",
}


def next_month() -> str:
    """Return the midnight at which the next month begins, as the API writes it."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=31)
    return f"{first.replace(day=1):%Y-%m-%dT%H:%M:%S.%f}"


def test_set_changes_what_is_given(service: Service, key: Key) -> None:
    """And nothing else; `none` lifts a limit."""
    told = service.cli("keys", "set", key["id"], *LIMITS, *MORE, "--json")
    assert (told.returncode, told.stderr) == (0, "")
    changed = {**key, **AS_JSON, "remaining_bytes": 1_500_000_000, "resets_at": next_month()}
    assert json.loads(told.stdout) == changed
    told = service.cli("keys", "set", key["uuid"], "--active", "--name", "Мария", "--expires", "none", "--json")
    wanted = {**changed, "is_active": True, "status": "active", "name": "Мария", "expires_at": None}
    assert json.loads(told.stdout) == wanted
    none = ["--traffic-limit", "none", "--devices", "none", "--speed", "none", "--window", "total", "--note", ""]
    told = service.cli("keys", "set", key["id"], *none, "--name", key["name"], "--json")
    assert json.loads(told.stdout) == key


def test_add_takes_the_same_options(service: Service) -> None:
    """A key has them from its making; people read them in words."""
    added = service.cli("keys", "add", "limited", *LIMITS, *MORE)
    assert added.returncode == 0
    key = next(key for key in list_keys(service) if key["name"] == "limited")
    assert {name: key[name] for name in AS_JSON} == AS_JSON
    expires = datetime(2031, 12, 31, 20, 59, 59, tzinfo=UTC).astimezone()
    for words in ("disabled", f"{expires:%Y-%m-%d %H:%M:%S %Z}", "1.5 GB, month", "1.5 GB (1500000000 B)", "a note"):
        assert words in added.stdout
    delete_key(service, key)


def test_list_tells_the_status(service: Service, key: Key) -> None:
    """Of each key, in its line."""
    service.cli("keys", "set", key["id"], "--expires", "2020-01-01")
    shown = service.cli("keys", "list").stdout.splitlines()
    assert "expired" in next(line for line in shown if key["id"][:8] in line)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--expires", "tomorrow"], 2),
        (["--traffic-limit", "5X"], 2),
        (["--traffic-limit", ""], 2),
        (["--traffic-limit", "infT"], 2),
        (["--devices", "two"], 2),
        (["--window", "year"], 2),
        (["--devices", "0"], 1),
        (["--traffic-limit", "-1"], 2),
        (["--traffic-limit", "5GiB"], 2),
        (["--traffic-limit", "0"], 1),
        (["--expires-after", "1month"], 2),
        (["--name", " "], 1),
        (["--speed", "100001"], 1),
    ],
)
def test_what_is_no_limit(service: Service, key: Key, arguments: list[str], code: int) -> None:
    """2 for what is no value at all, 1 for what the server refuses; nothing is changed."""
    told = service.cli("keys", "set", key["id"], *arguments)
    assert told.returncode == code
    assert told.stderr
    assert "Traceback" not in told.stderr
    assert key in list_keys(service)
