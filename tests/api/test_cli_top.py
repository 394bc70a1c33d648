"""`vpnkeys top` and `vpnkeys audit --follow`: commands that go on, and how they end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self

import pytest
from tests.support.clients import XrayClient
from tests.support.keys import delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, TransferError, transfer

pytestmark = pytest.mark.e2e

_ENTER, _LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
_HIDE, _SHOW = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A command on a terminal of its own, and all that it has shown."""

    def __init__(self, service: Service, *arguments: str, **settings: str) -> None:
        """Start it; a terminal of 100 columns and 20 lines."""
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
        self._before = termios.tcgetattr(self._theirs)
        self.shown = b""
        self._command = subprocess.Popen(
            [sys.executable, "-m", "vpnkeys", *arguments],
            env={**service.env, "TERM": "xterm-256color", **settings},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )

    def wait_for(self, text: bytes, timeout: float = 40.0) -> None:
        """Read until it was shown."""
        end = time.monotonic() + timeout
        while text not in self.shown and time.monotonic() < end:
            self._read(0.2)
        assert text in self.shown, self.shown[-2000:]

    def type(self, keys: bytes) -> None:
        """As if on the keyboard."""
        os.write(self._ours, keys)

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self._command.send_signal(number)

    def is_calm(self) -> bool:
        """Whether keys come by lines and are shown: what a shell hands over and wants back."""
        return bool(termios.tcgetattr(self._theirs)[3] & (termios.ICANON | termios.ECHO)) and (
            termios.tcgetattr(self._theirs) == self._before
        )

    def ended(self) -> int:
        """Its exit code."""
        assert wait_until(lambda: self._read(0.1) or self._command.poll() is not None)
        while self._read(0.1):
            pass
        return self._command.wait(1)

    def _read(self, wait_s: float) -> bool:
        """Whether there was something; never that the wait is over."""
        if select.select([self._ours], [], [], wait_s)[0]:
            with suppress(OSError):
                self.shown += os.read(self._ours, 65536)
        return False

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it in any case."""
        self._command.kill()
        self._command.wait()
        os.close(self._ours)
        os.close(self._theirs)


ENDS: dict[str, tuple[Callable[[Terminal], None], int]] = {
    "q": (lambda terminal: terminal.type(b"q"), 0),
    "Q after other keys": (lambda terminal: terminal.type(b"x \x1b[AQ"), 0),
    "Ctrl-C": (lambda terminal: terminal.send(signal.SIGINT), 0),
    "SIGTERM": (lambda terminal: terminal.send(signal.SIGTERM), 128 + signal.SIGTERM),
    "SIGHUP": (lambda terminal: terminal.send(signal.SIGHUP), 128 + signal.SIGHUP),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_terminal_is_as_before_however_top_ends(service: Service, end: str) -> None:
    """Keys are shown again, the cursor is back, and what was on the screen is there again."""
    key = make_key(service, "watched")
    with Terminal(service, "top") as terminal:
        terminal.wait_for(_ENTER)
        terminal.wait_for(b"0 B/s")  # two samples have come
        terminal.wait_for(b"watched")
        assert not terminal.is_calm()
        how, code = ENDS[end]
        how(terminal)
        assert terminal.ended() == code
        assert terminal.is_calm()
        assert terminal.shown.rfind(_LEAVE) > terminal.shown.rfind(_ENTER)
        assert terminal.shown.rfind(_SHOW) > terminal.shown.rfind(_HIDE)
        assert b"Traceback" not in terminal.shown
    delete_key(service, key)


def test_top_ends_in_order_when_the_server_does(service: Service) -> None:
    """With 3 and a word about it, on a terminal that is as before."""
    token = service.client.post("/api/tokens", json={"name": "short", "scope": "read"}).json()
    settings = {
        "VPNKEYS_URL": service.base_url,
        "VPNKEYS_API_KEY": token["token"],
        "VPNKEYS_CA": str(service.data_dir / "tls" / "cert.pem"),
    }
    with Terminal(service, "top", **settings) as terminal:
        terminal.wait_for(b"keys")
        service.client.delete(f"/api/tokens/{token['id']}").raise_for_status()
        assert terminal.ended() == 3
        assert terminal.is_calm()
        assert b"The server has ended the connection." in terminal.shown[terminal.shown.rfind(_LEAVE) :]


def test_a_repair_asks_first(service: Service) -> None:
    """What would be done is shown; "no" does nothing and ends with 1, --yes asks nothing."""
    with Terminal(service, "sync", "--restart") as terminal:
        terminal.wait_for(b"Go on?")
        assert b"Database, config.json and Xray agree." in terminal.shown
        pid = service.xray_pid()
        terminal.type(b"n\n")
        assert terminal.ended() == 1
        assert service.xray_pid() == pid
    with Terminal(service, "sync", "--restart", "--yes", "--json") as terminal:
        assert terminal.ended() == 0
        assert b"Go on?" not in terminal.shown
        assert service.xray_pid() != pid


def test_a_qr_code_brings_its_own_colours(service: Service) -> None:
    """Black on white whatever the terminal's own are, and every line ends in them no longer."""
    key = make_key(service, "qr")
    with Terminal(service, "keys", "qr", key["id"]) as terminal:
        assert terminal.ended() == 0
        lines = [line for line in terminal.shown.split(b"\r\n") if b"\x1b[38;5;16;48;5;231m" in line]
        assert len(lines) > 20
        assert all(line.startswith(b"\x1b[38;5;16;48;5;231m") and line.endswith(b"\x1b[0m") for line in lines)
    with Terminal(service, "keys", "qr", key["id"], TERM="dumb") as terminal:
        assert terminal.ended() == 0
        assert b"\x1b" not in terminal.shown
    delete_key(service, key)


def test_top_once_tells_the_rate(service: Service, byte_server: ByteServer) -> None:
    """Bytes that flow through a real client are a rate of their key, and the key comes first."""
    idle, busy = make_key(service, "idle"), make_key(service, "busy")
    ending = threading.Event()
    with XrayClient(link_of(service, busy)) as client:

        def flow() -> None:
            while not ending.is_set():
                with suppress(OSError, TransferError), byte_server.open(client.socks) as sock:
                    transfer(sock, 1000, 200_000)

        thread = threading.Thread(target=flow)
        thread.start()
        try:
            assert wait_until(lambda: _once(service)["keys"][0]["rate_bytes_per_s"] > 10_000)
            told = _once(service)
        finally:
            ending.set()
            thread.join()
    assert [told["keys"][0]["key_id"], told["keys"][0]["name"]] == [busy["id"], "busy"]
    assert next(one for one in told["keys"] if one["key_id"] == idle["id"])["rate_bytes_per_s"] == 0
    for key in (idle, busy):
        delete_key(service, key)


def _once(service: Service) -> dict[str, Any]:
    told = service.cli("top", "--once", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@pytest.fixture
def following(service: Service) -> Iterator[subprocess.Popen[str]]:
    """`vpnkeys audit --follow --json` that tells of two changes before it began, and then of what comes."""
    command = [sys.executable, "-m", "vpnkeys", "audit", "--follow", "--json", "--limit", "2"]
    with subprocess.Popen(
        command, env=service.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        yield process
        process.kill()


def test_following_the_audit_log(service: Service, request: pytest.FixtureRequest) -> None:
    """Each change once and in order, a document a line, until Ctrl-C, which is no error."""
    key = make_key(service, "followed")
    delete_key(service, key)
    process = request.getfixturevalue("following")
    seen = [json.loads(process.stdout.readline()) for _ in range(2)]
    keys = [make_key(service, f"followed {number}") for number in range(3)]
    seen += [json.loads(process.stdout.readline()) for _ in keys]
    assert [one["action"] for one in seen] == ["key.created", "key.deleted", *["key.created"] * 3]
    assert [one["subject"] for one in seen] == [key["id"], key["id"], *[key["id"] for key in keys]]
    assert sorted(one["id"] for one in seen) == [one["id"] for one in seen]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""
    for key in keys:
        delete_key(service, key)
