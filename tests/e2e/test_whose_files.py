"""Other users of the host lead root nowhere: neither by a data directory of theirs, nor by links in the server's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.data_dirs import filled
from tests.support.legacy import OldKey, OldServer
from tests.support.process import wait_until
from tests.support.strangers import (
    NOBODY,
    SERVER,
    as_user,
    give,
    is_python_readable,
    needs_users,
    open_room,
    require_readable_python,
    run_as_root,
)

from vpnkeys.ops.backup import write_backup
from vpnkeys.store.files.backup import unpack

pytestmark = [pytest.mark.e2e, needs_users]

# Speaks to whoever connects, and writes down what it hears.
_LISTENER = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    peer, _ = server.accept()
    open(sys.argv[2], "ab").write(peer.recv(4096))
"""


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory in which every user may do anything."""
    with open_room() as room:
        yield room


def _program(room: Path) -> Path:
    """A program that writes down who ran it."""
    (program := room / "program").write_text(f'#!/bin/sh\nid -u >> "{room}/ran"\necho Xray 26.3.27\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "--no-self-test"),
        ("serve",),
        ("xray", "run"),
        ("traffic", "collect"),
        ("backup", "out.backup"),
        ("restore", "--newest"),
        ("import", "legacy", "--database", "old/vpn.db", "--config", "old/config.json", "--keys", "old/keys.env"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_data_directory_of_another_user(room: Path, arguments: tuple[str, ...]) -> None:
    """Root starts none of its programs and changes nothing there; one line says whose it is."""
    data = room / "data"
    data.mkdir(mode=0o755)
    (data / "vpnkeys.env").write_text(f"VPNKEYS_XRAY_BIN={_program(room)}\nVPNKEYS_XRAY_SUPERVISOR=systemd\n")
    give(data, NOBODY)
    OldServer(room / "old", [OldKey("me", 10001, "ab" * 8, "www.example.com")]).write()
    before = sorted(data.iterdir())
    done = run_as_root(room, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "belongs to the user nobody" in done.stderr
    assert not (room / "ran").exists()
    assert sorted(data.iterdir()) == before


def test_a_socket_of_another_user(room: Path) -> None:
    """Nothing is sent to it, though the directory is root's own."""
    data = room / "data"
    (data / "run").mkdir(parents=True)
    data.chmod(0o755)
    (data / "run").chmod(0o777)
    path = data / "run" / "admin.sock"
    listener = subprocess.Popen(as_user(NOBODY, "/usr/bin/python3", "-c", _LISTENER, str(path), str(room / "heard")))
    try:
        assert wait_until(lambda: _listens(path))
        for arguments in (("keys", "add", "me"), ("keys", "list"), ("doctor", "--no-self-test")):
            done = run_as_root(room, *arguments)
            assert done.returncode == 2, done.stdout + done.stderr
            assert "belongs to the user nobody" in done.stderr
    finally:
        listener.kill()
        listener.wait()
    assert not (room / "heard").exists() or not (room / "heard").read_bytes()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(os.fspath(path)) == 0


def test_a_directory_that_others_can_write_to(room: Path) -> None:
    """It is not believed even where it is root's: anyone could have put the file there."""
    data = room / "data"
    data.mkdir()
    data.chmod(0o777)
    (data / "vpnkeys.env").write_text(f"VPNKEYS_XRAY_BIN={_program(room)}\n")
    done = run_as_root(room, "serve")
    assert done.returncode == 2
    assert f"chmod go-w {data}" in done.stderr
    assert not (room / "ran").exists()


def test_a_settings_file_of_another_user(room: Path) -> None:
    """In a directory of root's own, as after unpacking an archive."""
    data = room / "data"
    data.mkdir(mode=0o700)
    (data / "vpnkeys.env").write_text(f"VPNKEYS_XRAY_BIN={_program(room)}\n")
    os.chown(data / "vpnkeys.env", NOBODY, NOBODY)
    done = run_as_root(room, "serve")
    assert done.returncode == 2
    assert "vpnkeys.env belongs to the user nobody" in done.stderr
    assert not (room / "ran").exists()


@pytest.fixture
def installed(room: Path) -> Path:
    """The data directory of an installed server: its user may do in it what it likes."""
    filled(room / "data", 1, 2)
    give(room / "data", SERVER)
    return room / "data"


@pytest.fixture
def secret(room: Path) -> Path:
    """A file of root's."""
    (root := room / "root").mkdir(mode=0o700)
    (root / "secret").write_text("a secret of root's\n")
    (root / "secret").chmod(0o600)
    return root / "secret"


def _link(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    os.chown(path, SERVER, SERVER, follow_symlinks=False)


@pytest.mark.parametrize("name", ["tls/cert.pem", "vpnkeys.env"])
def test_a_backup_copies_no_secret(installed: Path, secret: Path, name: str) -> None:
    """A link in the server's directory leads root no further than the server's user itself."""
    _link(installed / name, secret)
    out = secret.parent / "out.backup"
    done = run_as_root(installed.parent, "backup", str(out))
    assert done.returncode in {1, 2}, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("name", [".lock", "backups", "tls", ".vpnkeys.new.db"])
def test_a_restore_writes_nowhere_else(installed: Path, secret: Path, tmp_path: Path, name: str) -> None:
    """Neither is a file of root's changed, nor is one made beside it."""
    require_readable_python()
    backup = write_backup(filled(tmp_path / "other", 7), secret.parent / "good.backup").file
    _link(installed / name, secret if "." in name else secret.parent)
    before = {path: path.read_bytes() for path in secret.parent.iterdir()}
    done = run_as_root(installed.parent, "restore", "--force", str(backup))
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in secret.parent.iterdir()} == before
    assert all(path.stat().st_uid == 0 for path in secret.parent.iterdir())


def test_root_works_for_the_server(installed: Path, secret: Path, tmp_path: Path) -> None:
    """It reads and writes its own files, and what it makes in the data directory belongs to the server's user."""
    require_readable_python()
    out = secret.parent / "out.backup"
    done = run_as_root(installed.parent, "backup", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert out.stat().st_uid == 0
    assert len(unpack(out.read_bytes()).members) == 5
    other = write_backup(filled(tmp_path / "other", 7), secret.parent / "good.backup").file
    done = run_as_root(installed.parent, "restore", "--force", str(other))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.lstat().st_uid for path in installed.rglob("*")} == {SERVER}
    assert (installed / "tls" / "cert.pem").read_text() == "certificate (7,)"


def test_the_doctor_of_root_is_the_servers_user(installed: Path) -> None:
    """It starts the program that the settings name, without more rights than the server has."""
    room = installed.parent
    (room / "ran").touch()
    (room / "ran").chmod(0o666)
    (installed / "vpnkeys.env").write_text(f"VPNKEYS_XRAY_BIN={_program(room)}\n")
    os.chown(installed / "vpnkeys.env", SERVER, SERVER)
    if not is_python_readable():
        # Its directory is closed to other users. Root does not go on in its place.
        done = run_as_root(room, "doctor", "--no-self-test")
        assert (done.returncode, (room / "ran").read_text()) == (2, "")
        assert "use the installed vpnkeys" in done.stderr
        return
    done = run_as_root(room, "doctor", "--no-self-test")
    assert done.returncode == 3, done.stdout + done.stderr
    assert set((room / "ran").read_text().split()) == {str(SERVER)}
