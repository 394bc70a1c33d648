"""What makes a host a node, and what is refused before anything is changed."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vpnkeys.agent.membership import MEMBERSHIP_FILE, Membership
from vpnkeys.domain.errors import Unavailable
from vpnkeys.install import installing, joining, services
from vpnkeys.install.host import InstallFailed
from vpnkeys.install.joining import Invitation, Joined, install_node
from vpnkeys.install.layout import Layout
from vpnkeys.install.notes import NODE_TEMPLATE, hints_to_open, node_introduction
from vpnkeys.settings import SettingsError, load_settings

URL = "https://192.0.2.1:8000"
PIN = "AB" * 32


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The places of an installation, below a directory of the test's own; systemd is told nothing."""
    made = Layout(tmp_path / "opt", tmp_path / "data", tmp_path / "bin/vpnkeys", tmp_path / "units")
    for directory in (made.releases, made.data_dir, made.units):
        directory.mkdir(parents=True)
    for module in (installing, joining):
        monkeypatch.setattr(module, "one_at_a_time", _at_once)
    monkeypatch.setattr(services, "run", lambda *_command: "")
    return made


class _at_once:  # noqa: N801 - in place of a function
    def __enter__(self) -> None:
        """No other installation is meant."""

    def __exit__(self, *_: object) -> None:
        """Nothing to free."""


def join(layout: Layout, url: str = URL) -> None:
    """What `vpnkeys agent join` leaves."""
    Membership(url, "fra-1", "vpnk_node2_secret", PIN, "20001-20100").save(layout.data_dir)


def attempt(layout: Layout, url: str = URL, fingerprint: str | None = PIN) -> None:
    """`./run --agent-join`."""
    install_node(layout, layout.opt, None, Invitation(url, "token", fingerprint), lambda _line: None)


def everything(layout: Layout) -> list[str]:
    """All files there are."""
    return sorted(str(path) for path in layout.opt.parent.rglob("*") if path.is_file())


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


def test_what_the_agent_keeps_says_that_a_host_is_a_node(layout: Layout) -> None:
    """The installer and the agent mean the same file, and read the same in it."""
    assert (services.is_node(layout), Joined.of(layout)) == (False, None)
    join(layout)
    assert layout.node_file.name == MEMBERSHIP_FILE
    assert (services.is_node(layout), Joined.of(layout)) == (True, Joined(URL, "fra-1", "20001-20100"))
    layout.node_file.write_text(json.dumps({"url": URL}))
    with pytest.raises(InstallFailed, match="join with a new token"):
        Joined.of(layout)


@pytest.mark.parametrize("is_node", [False, True])
def test_a_host_has_the_unit_of_a_server_or_of_an_agent(layout: Layout, is_node: bool) -> None:
    """And all the others; a repeat changes nothing, and all of them are removed."""
    if is_node:
        join(layout)
    assert services.write_units(layout, services.PACKAGED)
    names = {path.name for path in services.installed_units(layout)}
    assert ("vpnkeys-agent.service" in names, "vpnkeys.service" in names) == (is_node, not is_node)
    assert len(names) == len(list(services.PACKAGED.iterdir())) - 1
    assert services.main_unit(layout) in names
    assert not services.write_units(layout, services.PACKAGED)
    services.remove_units(layout)
    assert services.installed_units(layout) == []


def test_an_agent_answers_by_its_signs_to_systemd(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be active, and of this very version."""
    join(layout)
    said = {"ActiveState": "activating", "StatusText": ""}
    monkeypatch.setattr(services, "run", lambda *_: "".join(f"{name}={text}\n" for name, text in said.items()))
    with pytest.raises(InstallFailed, match="the agent is activating"):
        services.wait_for_answer(layout, "1.2.3", timeout_s=0.0)
    said |= {"ActiveState": "active", "StatusText": "Node fra-1, vpnkeys 11.2.3"}
    with pytest.raises(InstallFailed, match=r"not version 1\.2\.3"):
        services.wait_for_answer(layout, "1.2.3", timeout_s=0.0)
    said["StatusText"] = "Node fra-1, vpnkeys 1.2.3"
    services.wait_for_answer(layout, "1.2.3", timeout_s=0.0)


def test_a_server_does_not_become_a_node(layout: Layout) -> None:
    """Neither where it is installed, nor where it has left its keys; nothing is changed and no token is used."""
    (layout.data_dir / "vpnkeys.db").touch()
    before = everything(layout)
    with pytest.raises(InstallFailed, match="has the keys of a server that was here"):
        attempt(layout)
    assert everything(layout) == before
    shutil.copy(services.PACKAGED / "vpnkeys.service", layout.units)
    before = everything(layout)
    with pytest.raises(InstallFailed, match="this host is a server already"):
        attempt(layout)
    assert everything(layout) == before


def test_a_node_has_one_control_plane_and_does_not_become_a_server(layout: Layout) -> None:
    """Both are refused by name."""
    join(layout)
    before = everything(layout)
    with pytest.raises(InstallFailed, match=f"this host is node fra-1 of {URL} already"):
        attempt(layout, "https://192.0.2.2:8000")
    with pytest.raises(InstallFailed, match="this host is a node of another server"):
        installing.install(layout, layout.opt, None, lambda _line: None)
    assert everything(layout) == before


def test_a_control_plane_that_is_not_there_is_told_before_anything_is_made(layout: Layout, nobody: str) -> None:
    """So is a fingerprint that is none."""
    with pytest.raises(Unavailable, match=r"is not reached from here: .* Nothing was changed"):
        attempt(layout, nobody)
    with pytest.raises(SettingsError, match="a fingerprint is the SHA-256 of the certificate"):
        attempt(layout, fingerprint="6F:1C")
    assert everything(layout) == []


def test_the_lines_for_the_operator_name_the_node(tmp_path: Path) -> None:
    """A guessed address is a warning with its cure; only ports of keys are to be opened."""
    settings = load_settings({"VPNKEYS_DATA_DIR": str(tmp_path)})
    lines = node_introduction(settings, "1.2.3", "fra-1", URL, "it is a private one")
    assert lines[0] == f"vpnkeys 1.2.3 runs node fra-1 of {URL}, now and after every boot"
    assert "On the control plane:  vpnkeys nodes set fra-1 --address ADDRESS" in lines
    assert not any("guess" in line for line in node_introduction(settings, "1.2.3", "fra-1", URL, ""))
    hints = hints_to_open((), settings.port_range, lambda name: name == "ufw")
    assert hints[1:] == ["  ufw allow 10001:10100/tcp"]
    (tmp_path / "vpnkeys.env").write_text(NODE_TEMPLATE)
    assert load_settings({"VPNKEYS_DATA_DIR": str(tmp_path)}) == settings
    (tmp_path / "vpnkeys.env").write_text(NODE_TEMPLATE.replace("\n#VPNKEYS", "\nVPNKEYS"))
    assert load_settings({"VPNKEYS_DATA_DIR": str(tmp_path)}).egress_allow
