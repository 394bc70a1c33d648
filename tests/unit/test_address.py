"""The address in links, where this host guessed it: private ones and stale ones are told, a given one is believed."""

from pathlib import Path

import pytest

from vpnkeys import settings as module
from vpnkeys.ops.address import address_fault
from vpnkeys.settings import Settings, load_settings

_PUBLIC = "198.20.0.1"


def _settings(monkeypatch: pytest.MonkeyPatch, data_dir: Path, route: str, given: str = "") -> Settings:
    """The settings of a host whose default route begins at this address."""
    _now_is(monkeypatch, route)
    environment = {"VPNKEYS_DATA_DIR": str(data_dir)}
    return load_settings(environment | ({"VPNKEYS_SERVER_ADDRESS": given} if given else {}))


def _now_is(monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    monkeypatch.setattr(module, "default_address", lambda: route)
    monkeypatch.setattr("vpnkeys.ops.address.default_address", lambda: route)


@pytest.mark.parametrize("private", ["10.0.0.5", "192.168.1.2", "100.64.0.1", "fd00::1"])
def test_a_private_guess(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, private: str) -> None:
    """Behind a NAT; given by the operator, the same address is right."""
    assert address_fault(_settings(monkeypatch, tmp_path, private)) == "it is a private one"
    assert address_fault(_settings(monkeypatch, tmp_path, private, given=private)) == ""


def test_a_host_without_a_route(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has no address to guess; once it has, a restart finds it."""
    settings = _settings(monkeypatch, tmp_path, "127.0.0.1")
    assert address_fault(settings) == "this host has no route to the internet"
    _now_is(monkeypatch, _PUBLIC)
    assert address_fault(settings) == "this host had no route to the internet at the start; restart the service"


def test_a_guess_that_is_true_no_longer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Until the restart, which guesses again."""
    settings = _settings(monkeypatch, tmp_path, _PUBLIC)
    assert address_fault(settings) == ""
    _now_is(monkeypatch, "198.20.0.9")
    assert address_fault(settings) == "this host has another one now"
    assert address_fault(_settings(monkeypatch, tmp_path, "198.20.0.9")) == ""


def test_a_name_is_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where it leads is the operator's business."""
    assert address_fault(_settings(monkeypatch, tmp_path, "10.0.0.5", given="vpn.example.com")) == ""
