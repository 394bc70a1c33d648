"""`vpnkeys backup` and `vpnkeys restore` as a person meets them: where the passphrase comes from, what is said."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vpnkeys.cli.commands import backup as backing
from vpnkeys.cli.main import build_app
from vpnkeys.store.files.backup import DATABASE, is_encrypted, unpack
from vpnkeys.store.files.secrets import load_api_key, load_key_pair
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate

Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory as a server leaves it, without keys."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    engine = open_engine(f"sqlite:///{made / DATABASE}")
    migrate(engine)
    engine.dispose()
    load_key_pair(made)
    load_api_key(made, None)
    return made


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an environment of our own, without a terminal."""
    monkeypatch.setattr(os, "umask", lambda _mask: 0)  # it is this process's own

    def invoke(*arguments: str | Path, **environment: str) -> Result:
        env = {"VPNKEYS_DATA_DIR": str(data_dir), "VPNKEYS_PASSPHRASE": None, **environment}
        return CliRunner().invoke(build_app(["backup", "restore"]), [*map(str, arguments)], env=env)

    return invoke


def typing(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Somebody sits at the terminal and types these."""
    left = list(answers)
    monkeypatch.setattr(backing, "_has_terminal", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: left.pop(0))


def test_the_file_comes_before_the_environment(tmp_path: Path, run: Run) -> None:
    """Either is enough; the line's end is no part of the passphrase."""
    (tmp_path / "secret").write_text("of the file\r\n")
    file = tmp_path / "one"
    assert run("backup", file, "--passphrase-file", tmp_path / "secret", VPNKEYS_PASSPHRASE="other").exit_code == 0
    assert DATABASE in unpack(file.read_bytes(), "of the file").members
    assert run("backup", tmp_path / "two", VPNKEYS_PASSPHRASE="other").exit_code == 0
    assert DATABASE in unpack((tmp_path / "two").read_bytes(), "other").members


def test_a_terminal_is_asked(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice for a new one; not at all for a backup that needs none."""
    typing(monkeypatch, "secret", "secret")
    assert run("backup", tmp_path / "one").exit_code == 0
    typing(monkeypatch, "secret", "secreet")
    assert run("backup", tmp_path / "two").exit_code == 1
    assert not (tmp_path / "two").exists()
    typing(monkeypatch, "")
    assert run("backup", tmp_path / "three").exit_code == 0
    assert not is_encrypted((tmp_path / "three").read_bytes())
    typing(monkeypatch, "secret")
    assert run("restore", tmp_path / "one", "--force").exit_code == 0
    typing(monkeypatch)
    assert run("restore", tmp_path / "three", "--force").exit_code == 0


def test_what_a_person_should_know_is_said(tmp_path: Path, run: Run) -> None:
    """That a file is open to everybody, and where the old content is."""
    done = run("backup", tmp_path / "one")
    assert "not encrypted" in done.output
    done = run("restore", tmp_path / "one", "--force")
    assert "before-restore-" in done.output
    assert "VPNKEYS_SERVER_ADDRESS" in done.output


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (["backup", "/nowhere/at/all"], {}, 1, "nowhere"),
        (["backup", "x", "--passphrase-file", "/nowhere"], {}, 1, "/nowhere"),
        (["backup", "x", "--passphrase-file", "/dev/null"], {}, 1, "no passphrase"),
        (["backup", "x"], {"VPNKEYS_DATABASE_URL": "postgresql://h/d"}, 2, "own tools"),
        (["backup", "x"], {"VPNKEYS_DATA_DIR": "/nowhere"}, 2, "there is no database"),
        (["backup", "x"], {"VPNKEYS_PORT_RANGE": "all"}, 2, "VPNKEYS_PORT_RANGE"),
        (["restore", "/nowhere"], {}, 1, "/nowhere"),
        (["restore", "/dev/null"], {}, 1, "no backup of vpnkeys"),
    ],
)
def test_refusals_are_one_line(  # noqa: PLR0913, PLR0917 - a table
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    status: int,
    said: str,
) -> None:
    """For people as for programs, with the status of the other commands, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    done = run(*arguments, **environment)
    assert (done.exit_code, len(done.output.strip().splitlines())) == (status, 1)
    assert said in done.output
    answer: dict[str, Any] = json.loads(run(*arguments, "--json", **environment).output)
    assert said in answer["message"]
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_a_backup_between_two_states_is_none(tmp_path: Path, run: Run, data_dir: Path) -> None:
    """Where a restore was interrupted there is nothing whole to back up."""
    (data_dir / ".restore").mkdir()
    done = run("backup", tmp_path / "one")
    assert (done.exit_code, (tmp_path / "one").exists()) == (1, False)
    assert "was interrupted" in done.output
