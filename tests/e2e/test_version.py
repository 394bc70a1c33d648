"""`vpnkeys version --check`: what runs, what is installed, what it was made of, and which Xray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support import in_process
from tests.support.service import Service

from vpnkeys import __version__
from vpnkeys.cli import version as command
from vpnkeys.xray.process.tried import XRAY_VERSION, is_tried, tried_versions

pytestmark = pytest.mark.e2e


def _check(env: dict[str, str], *options: str) -> tuple[int, str]:
    done = in_process.call(("version", "--check", *options), env, Path("/"))
    assert done.stderr == ""
    return done.returncode, done.stdout


def _checked(env: dict[str, str]) -> tuple[int, Any]:
    code, said = _check(env, "--json")
    return code, json.loads(said)


def _old_xray(directory: Path) -> str:
    """A program that says to be a version that was not tried."""
    program = directory / "xray"
    program.write_text("#!/bin/sh\necho 'Xray 26.1.1 (Xray, Penetrates Everything.) Custom (go1.26.8 linux/amd64)'\n")
    program.chmod(0o755)
    return str(program)


def test_a_server_of_this_version(service: Service) -> None:
    """It is asked itself, and so is the Xray that runs, at the path that it was started from."""
    code, said = _checked(service.env)
    assert said["server"] == {"data_dir": str(service.data_dir), "pid": service.pid, "version": __version__}
    assert said["xray"] == {
        "path": str(Path(f"/proc/{service.xray_pid()}/exe").readlink()),
        "version": said["xray"]["version"],
        "is_running": True,
        "is_tried": is_tried(said["xray"]["version"]),
        "problem": "",
    }
    assert said["installed"]["version"] == __version__
    assert code == (0 if said["xray"]["is_tried"] else 1)


def test_sentences(service: Service) -> None:
    """One for each of the three."""
    _, said = _check(service.env)
    installed, running, xray = said.splitlines()
    assert installed.startswith(f"Installed here: vpnkeys {__version__}, a source tree in ")
    assert running == f"Running: vpnkeys {__version__} on {service.data_dir}."
    assert xray.startswith("Xray: ")


def test_a_server_of_another_version(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions differ after an upgrade, until the server is started again: the command for that is said."""
    monkeypatch.setattr(command, "__version__", "99.1")
    code, said = _check(service.env)
    assert (code, f"Running: vpnkeys {__version__} on" in said) == (1, True)
    assert f"It is not the version that is installed here, until it is started again: kill {service.pid} && " in said


def test_no_server(tmp_path: Path, service: Service) -> None:
    """It is said so, and what would be started."""
    code, said = _check({**service.env, "VPNKEYS_DATA_DIR": str(tmp_path)})
    assert (code, f"No server runs on {tmp_path}." in said) == (3, True)
    assert _checked({**service.env, "VPNKEYS_DATA_DIR": str(tmp_path)})[1]["server"]["version"] is None


def test_an_xray_that_was_not_tried(tmp_path: Path, service: Service) -> None:
    """The sentence names those that were."""
    env = {**service.env, "VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_XRAY_BIN": _old_xray(tmp_path)}
    said = _check(env)[1].splitlines()[2]
    assert said == (
        f"Xray: 26.1.1, {tmp_path}/xray, not running. "
        f"This version was not tried with vpnkeys {__version__}; tried were {tried_versions()}."
    )
    assert XRAY_VERSION in said


def test_wrong_settings(service: Service) -> None:
    """As with every command that reads them."""
    env = {**service.env, "VPNKEYS_DATA_DIR": "/nowhere", "VPNKEYS_X": "1"}
    done = in_process.call(("version", "--check"), env, Path("/"))
    assert (done.returncode, "VPNKEYS_X" in done.stderr) == (2, True)
