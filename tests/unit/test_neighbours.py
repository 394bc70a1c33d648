"""What else is on a host is named before an installation meets it."""

from pathlib import Path

import pytest

from vpnkeys.install.host import InstallFailed
from vpnkeys.install.neighbours import refuse_taken_ports, remarks
from vpnkeys.settings import Settings, load_settings
from vpnkeys.xray.host.listeners import Listener

NGINX = frozenset({Listener(80, "nginx")})


def settings(data_dir: Path, **given: str) -> Settings:
    """Settings of a host."""
    named = {f"VPNKEYS_{name}": value for name, value in given.items()}
    return load_settings({"VPNKEYS_DATA_DIR": str(data_dir), "VPNKEYS_SERVER_ADDRESS": "203.0.113.7", **named})


def test_a_taken_port_of_the_api_is_refused_by_the_name_of_who_has_it(tmp_path: Path) -> None:
    """With what to set instead."""
    with pytest.raises(InstallFailed, match=r"8000 is taken by nginx \(pid 80\).*VPNKEYS_LISTEN=\[::\]:8001"):
        refuse_taken_ports(settings(tmp_path), {8000: NGINX})
    refuse_taken_ports(settings(tmp_path), {8001: NGINX})


@pytest.mark.parametrize(("listen", "is_needed"), [("[::]:8000", True), ("[::]:443", False)])
def test_the_port_of_the_authoritys_check_is_needed_with_a_domain(tmp_path: Path, listen: str, is_needed: bool) -> None:
    """Unless the check comes to the API."""
    given = settings(tmp_path, DOMAIN="vpn.example.com", LISTEN=listen)
    if is_needed:
        with pytest.raises(InstallFailed, match="port 80 is taken by nginx"):
            refuse_taken_ports(given, {80: NGINX})
    else:
        refuse_taken_ports(given, {80: NGINX})
    refuse_taken_ports(settings(tmp_path), {80: NGINX})


def test_other_panels_and_taken_ports_of_keys_are_told(tmp_path: Path) -> None:
    """They are no reason to refuse."""
    panel = frozenset({Listener(7, "x-ui")})
    said = list(remarks(settings(tmp_path), {10001: panel, 10050: panel, 9: NGINX}, ("x-ui",)))
    assert said[0].startswith("2 port(s) of the keys' range 10001-10100 are taken by x-ui (pid 7)")
    assert said[1].startswith("Also on this host: x-ui.")
    assert list(remarks(settings(tmp_path), {9: NGINX}, ())) == []
