"""The command line where its operator is: in another time zone, and on a terminal of another character set."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from tests.support.keys import Key, delete_key, list_keys, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e

NAME = "Мария 🦄"


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key with a name that few character sets have."""
    key = make_key(service, NAME)
    yield key
    delete_key(service, key)


def _run(service: Service, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vpnkeys", *arguments]
    env = {**service.env, "PYTHONUTF8": "0", **more}
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("zone", "expires", "wanted"),
    [
        ("Asia/Novosibirsk", "2031-12-31", "2031-12-31T17:00:00.000000"),
        ("America/New_York", "2031-12-31", "2032-01-01T05:00:00.000000"),
        # Summer time ends in that night: the day ends by summer time, an hour before.
        ("Europe/Berlin", "2031-10-25", "2031-10-25T22:00:00.000000"),
        ("Europe/Berlin", "2031-10-26", "2031-10-26T23:00:00.000000"),
        ("Asia/Novosibirsk", "2031-12-31T00:00:00", "2031-12-31T00:00:00.000000"),
        ("Asia/Novosibirsk", "2031-12-31T00:00:00+03:00", "2031-12-30T21:00:00.000000"),
    ],
)
def test_a_date_is_the_end_of_the_day_here(service: Service, key: Key, zone: str, expires: str, wanted: str) -> None:
    """What is said of it is the same moment, here and in UTC; a time stays what it is."""
    done = _run(service, "keys", "set", key["id"], "--expires", expires, TZ=zone)
    assert done.returncode == 0
    (now,) = (one for one in list_keys(service) if one["id"] == key["id"])
    assert now["expires_at"] == wanted
    said = done.stderr.decode()
    here = datetime.fromisoformat(wanted).replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    assert f"Expires {here:%Y-%m-%d %H:%M:%S %Z} ({wanted[:19].replace('T', ' ')} UTC)" in said
    as_json = _run(service, "keys", "set", key["id"], "--expires", expires, "--json", TZ=zone)
    assert (json.loads(as_json.stdout)["expires_at"], as_json.stderr) == (wanted, b"")


@pytest.mark.parametrize("expires", ["9999-12-31", "2031-02-30"])
def test_a_date_that_is_none(service: Service, key: Key, expires: str) -> None:
    """Code 2, and no traceback."""
    done = _run(service, "keys", "set", key["id"], "--expires", expires)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


def test_a_token_too(service: Service) -> None:
    """The same words mean the same."""
    done = _run(service, "tokens", "add", "x", "--scope", "read", "--expires", "2031-12-31", "--json", TZ="Asia/Tokyo")
    assert json.loads(done.stdout)["expires_at"] == "2031-12-31T15:00:00.000000"


@pytest.mark.parametrize("path", ["keys", "tokens"])
def test_a_date_in_a_request_is_the_end_of_the_day(service: Service, path: str) -> None:
    """In UTC, since a server has no other."""
    body = {"name": "x", "expires_at": "2031-12-31", **({"scope": "read"} if path == "tokens" else {})}
    made = service.client.post(f"/api/{path}", json=body).json()
    assert made["expires_at"] == "2032-01-01T00:00:00.000000"
    service.client.delete(f"/api/{path}/{made['id']}").raise_for_status()


@pytest.mark.parametrize("encoding", ["iso-8859-1", "koi8-r"])
def test_names_are_shown_on_any_terminal(service: Service, key: Key, encoding: str) -> None:
    """With replacements, and no traceback; JSON says all of it in every character set."""
    shown = NAME.encode(encoding, "replace")
    for arguments in (("keys", "list"), ("keys", "show", key["id"])):
        done = _run(service, *arguments, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b""), arguments
        assert shown in done.stdout
        done = _run(service, *arguments, "--json", PYTHONIOENCODING=encoding)
        assert NAME in json.dumps(json.loads(done.stdout.decode("ascii")), ensure_ascii=False)
