"""The benchmark that drives any server of the API, on two of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bench import against
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def shortened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A look at each is enough here."""
    monkeypatch.setattr(against, "SAMPLES", 2)
    monkeypatch.setattr(against, "HAMMER_S", 1)
    monkeypatch.setattr(against, "_WRITTEN", tmp_path / "against.json")


@pytest.fixture
def other(target: RealityTarget) -> Iterator[Service]:
    """One more server, with room for three keys."""
    with Service(target, port_count=3) as service:
        service.wait_ready()
        yield service


def url_of(service: Service) -> str:
    """Where it is, with its API key."""
    return service.base_url.replace("https://", f"https://{service.api_key}@")


def test_servers_are_measured_side_by_side(
    service: Service, other: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each at the same numbers of keys, and none of those is left."""
    assert against.main([url_of(service), url_of(other), "--keys", "2", "1"]) == 0
    rows = json.loads((tmp_path / "against.json").read_text())
    assert [row["what"] for row in rows if row["unit"] == "ms"][4:] == [
        "create a key, 2 present",
        "delete a key, 2 present",
        "get one of 2 keys",
        "list 2 keys",
    ]
    assert all(set(row["values"]) == {service.base_url, other.base_url} for row in rows)
    assert all(value > 0 for row in rows for value in row["values"].values())
    assert service.api_key not in capsys.readouterr().out
    assert [one.client.get("/api/keys").json() for one in (service, other)] == [[], []]


def test_a_server_that_refuses_ends_it(service: Service, other: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own words say why, and what was made is deleted."""
    assert against.main([url_of(service), url_of(other), "--keys", "4"]) == 1
    said = capsys.readouterr().err
    assert f"POST /api/keys at 127.0.0.1:{other.address[1]}: 400" in said
    assert "ports_exhausted" in said
    assert [one.client.get("/api/keys").json() for one in (service, other)] == [[], []]


def test_a_url_without_an_api_key_is_refused(service: Service) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit):
        against.main([service.base_url])
