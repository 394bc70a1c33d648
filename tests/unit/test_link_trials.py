"""The self-test's own client: what is wrong with that is told as its fault, never as the key's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.data_dirs import key
from tests.support.memory import SITE

from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.trial import Outcome, Trial
from vpnkeys.xray.config.document import BaseConfig
from vpnkeys.xray.probe import client
from vpnkeys.xray.probe.trial import Trials

BIND = """
import json, socket, sys, time
door = json.load(open(sys.argv[5]))["inbounds"][0]["listen"].partition(",")[0]
listener = socket.socket(socket.AF_UNIX)
listener.bind(door)
"""
GREET = """
listener.listen()
while not (peer := listener.accept()[0]).recv(1000): pass
"""
ANSWER = r"""
peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
peer.recv(1000)
peer.sendall(b"HTTP/1.1 403 Forbidden\n\n")
peer.recv(1000)
"""

Try = Callable[[str], Trial]


@pytest.fixture
def try_with(tmp_path: Path) -> Try:
    """Try a link with a program in place of Xray."""

    def try_with(program: str) -> Trial:
        xray = tmp_path / "xray"
        xray.write_text(f"#!{sys.executable}\n{program}", encoding="ascii")
        xray.chmod(0o755)
        site = replace(SITE, socket_dir=str(tmp_path))
        base = BaseConfig("unused", PortRange(10001, 10002))
        return Trials(xray, {}, lambda: site, base, lambda _name: None, lambda _name: "").of(key(1))

    return try_with


def test_a_client_that_listens_late_is_waited_for(try_with: Try) -> None:
    """Its socket is there for a while before anybody is let in."""
    trial = try_with(f"{BIND}time.sleep(0.3){GREET}{ANSWER}")
    assert (trial.outcome, trial.bytes_received) == (Outcome.WORKS, len("HTTP/1.1 403 Forbidden\n\n"))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(1)", "it ended right after its start"),
        (f"{BIND}raise SystemExit(1)", "it ended right after its start"),
        (f"{BIND}time.sleep(60)", "it did not get ready within 0 s"),
        (f"{BIND}{GREET}", "it ended during the test"),
    ],
    ids=["ends", "ends-with-a-door", "never-listens", "hangs-up"],
)
def test_a_client_that_fails_is_no_verdict_on_the_key(
    try_with: Try, program: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of the key then."""
    monkeypatch.setattr(client, "_START_S", 0.5)
    assert try_with(program) == Trial(Outcome.NO_CLIENT, reason)


def test_no_client_at_all(tmp_path: Path) -> None:
    """A program that is not there is told too."""
    site = replace(SITE, socket_dir=str(tmp_path))
    trials = Trials(
        tmp_path / "none",
        {},
        lambda: site,
        BaseConfig("unused", PortRange(10001, 10002)),
        lambda _name: None,
        lambda _name: "",
    )
    assert trials.of(key(1)) == Trial(Outcome.NO_CLIENT, "it could not be started: No such file or directory")
