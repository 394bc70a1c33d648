"""The QR code of a link: as wide as it is, on the terminal that there is, and in a file for its owner alone."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import segno
from tests.api.test_cli_failures import ANSWERS, ID, KEY
from tests.support.answering import Answering, answering

LINK = f"vless://{ID}@vpn.example.com:10001?{'x' * 300}"
_CONFIG = {"key": KEY, "client_config": LINK, "vless_url": LINK}
WIDTH = int(segno.make_qr(LINK, error="l").symbol_size()[0])


@pytest.fixture
def server() -> Iterator[Answering]:
    """A server with a key that has a long link."""
    with answering({**ANSWERS, f"/api/keys/{ID}/config": _CONFIG, "/api/keys": []}) as server:
        yield server


def _on_a_terminal(server: Answering, columns: int, line: str, **more: str) -> tuple[int, str, str]:
    """Exit code, what a terminal of so many columns shows, and what is on standard error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("VPNKEYS_", "COLUMNS"))}
    given = {name: value for name, value in server.env.items() if value is not None}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "vpnkeys", *line.split()],
        env={**own, **given, "TERM": "xterm", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8", **more},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as command:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # Linux ends a terminal so when its last program is gone
        said = command.stderr.read() if command.stderr else b""
    os.close(ours)
    return command.returncode, shown.decode("utf-8", "replace"), said.decode()


def _drawn(shown: str) -> list[str]:
    return [line for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines() if re.fullmatch("[ ▀▄█]{20,}", line)]


def test_a_window_that_is_wide_enough(server: Answering) -> None:
    """By the column."""
    code, shown, said = _on_a_terminal(server, WIDTH, f"keys qr {ID}")
    assert (code, said) == (0, "")
    assert {len(line) for line in _drawn(shown)} == {WIDTH}


@pytest.mark.parametrize("line", [f"keys qr {ID}", f"keys show {ID} --qr"])
def test_a_window_that_is_too_narrow(server: Answering, line: str) -> None:
    """No code that is folded to nothing readable: what helps is said, and the link printed."""
    code, shown, said = _on_a_terminal(server, WIDTH - 1, line)
    assert code == (1 if "keys qr" in line else 0)
    assert _drawn(shown) == []
    assert "▀" not in shown
    assert LINK in shown.replace("\r\n", "\n").splitlines()
    assert f"{WIDTH} columns wide, and this terminal {WIDTH - 1}: make its window wider" in said
    assert f"`vpnkeys keys qr {ID} --svg FILE`" in said


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
def test_a_character_set_without_blocks(server: Answering, encoding: str) -> None:
    """No field of question marks."""
    code, shown, said = _on_a_terminal(server, 200, f"keys qr {ID}", PYTHONIOENCODING=encoding)
    assert (code, "??" in shown, LINK in shown) == (1, False, True)
    assert "use a UTF-8 one, or write it into a file" in said


def test_a_subscription_has_no_file(server: Answering) -> None:
    """Only the wider window is offered."""
    url = f"https://vpn.example.com/sub/{'x' * 300}"
    made = {"key_id": ID, "url": url, "created_at": "2025-08-05T12:00:00", "exists": False}
    server.answers = {**server.answers, f"/api/keys/{ID}/subscription": made}
    code, shown, said = _on_a_terminal(server, 60, f"keys sub {ID} --qr")
    assert (code, url in shown, _drawn(shown)) == (0, True, [])
    assert "make its window wider." in said
    assert "--svg" not in said


def test_a_file_is_for_its_owner_and_replaces_none(server: Answering, tmp_path: Path) -> None:
    """As a downloaded backup: everyone who can scan it can use the key."""
    file = tmp_path / "key.svg"
    file.write_text("precious")
    file.chmod(0o644)
    told = server.run(f"keys qr {ID} --svg {file}")
    assert (told.exit_code, file.read_text()) == (1, "precious")
    assert "give --force" in told.stderr
    assert server.run(f"keys qr {ID} --svg {file} --force").exit_code == 0
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("<svg/>", 0o600)
    assert list(tmp_path.iterdir()) == [file]
