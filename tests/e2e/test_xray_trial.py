"""The trial of another Xray finds one that would shut customers out, though Xray's own clients get in.

No newer Xray can be had from Go modules, so the strict one is the pinned version with the newer ones' rules.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.binaries import xray_binary
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.keys import carries, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.strict_xray import strict_xray
from tests.support.target import RealityTarget

from vpnkeys.domain.reality import KeyPair
from vpnkeys.install import trial
from vpnkeys.install.host import InstallFailed
from vpnkeys.install.xrays import _try
from vpnkeys.settings import Settings, load_settings
from vpnkeys.xray.probe.client import Way
from vpnkeys.xray.probe.old_client import lets_in_old_client

pytestmark = pytest.mark.e2e

_SOON_S = 5.0


@pytest.fixture
def settings(target: RealityTarget) -> Settings:
    """Those of a server in front of the target."""
    return load_settings(
        {
            "VPNKEYS_DATA_DIR": "/nowhere",
            "VPNKEYS_REALITY_TARGET": target.address,
            "VPNKEYS_REALITY_SERVER_NAMES": target.names[0],
            "VPNKEYS_XRAY_CA_FILE": str(target.ca_file),
        }
    )


@pytest.fixture(params=["version", "group"])
def strict(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An Xray that wants a newer version of clients, or X25519MLKEM768."""
    if not strict_xray().exists():
        pytest.skip("there is no strict Xray here: python -m tests.support.strict_xray")
    program = tmp_path / "xray"
    program.write_text(f'#!/bin/sh\nSTRICT={request.param} exec {strict_xray()} "$@"\n')
    program.chmod(0o755)
    return program


def test_an_xray_that_shuts_clients_out_is_refused(strict: Path, settings: Settings) -> None:
    """Xray's own client gets in, an old client does not; the sentence says who is shut out and why."""
    present = xray_binary()
    assert trial.carries(trial.Pair(strict, present), settings)
    with pytest.raises(InstallFailed, match=r"shuts out clients .* sing-box and mihomo: .*X25519MLKEM768"):
        _try(strict, present, settings, print)


@pytest.mark.parametrize("strict", ["group", pytest.param("version", marks=pytest.mark.soak)], indirect=True)
def test_where_the_present_xray_is_as_strict_nothing_is_refused(strict: Path, settings: Settings) -> None:
    """Nobody is shut out who is not already."""
    _try(strict, strict, settings, print)


@pytest.mark.parametrize("strict", ["version", pytest.param("group", marks=pytest.mark.soak)], indirect=True)
def test_real_clients_fare_as_the_trial_says(strict: Path, target: RealityTarget, byte_server: ByteServer) -> None:
    """What stands for sing-box in the trial is refused where sing-box is; Xray gets in."""
    with Service(target, egress_allow=[byte_server.egress_rule], settings={"VPNKEYS_XRAY_BIN": str(strict)}) as service:
        service.wait_ready()
        link = link_of(service, make_key(service, "me"))
        with XrayClient(link) as xray, SingBoxClient(link) as sing_box:
            assert wait_until(lambda: carries(xray.socks, byte_server))
            assert not wait_until(lambda: carries(sing_box.socks, byte_server), _SOON_S)


def test_only_the_right_key_and_short_id_get_in(service: Service) -> None:
    """The handshake proves that the server knows the client; anybody else sees the target's certificate."""
    link = link_of(service, make_key(service, "me"))
    way = Way(link.port, link.uuid, "", link.sni, link.public_key, link.short_id)
    other = link_of(service, make_key(service, "other"))
    assert lets_in_old_client(way, _SOON_S)
    assert not lets_in_old_client(replace(way, short_id=other.short_id), _SOON_S)
    assert not lets_in_old_client(replace(way, public_key=KeyPair.new().public_key), _SOON_S)
    assert not lets_in_old_client(replace(way, server_name="another.example.org"), _SOON_S)
