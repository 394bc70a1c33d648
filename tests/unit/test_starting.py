"""What is said when a server or a node cannot start: one message for its operator, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpnkeys.agent.membership import Membership
from vpnkeys.cli.starting import starting
from vpnkeys.domain.errors import Unavailable
from vpnkeys.owner import NotOurs
from vpnkeys.settings import SettingsError

NODE = Membership("https://127.0.0.1:1", "far", "vpnk_node2_secret", None, "20001-20003")


def said(data_dir: Path, *command: str, **settings: str) -> tuple[int, str]:
    """The exit code and the words of a command in the foreground."""
    given = {"DATA_DIR": str(data_dir), "XRAY_BIN": "/bin/false"} | settings
    kept = {name: text for name, text in os.environ.items() if not name.startswith("VPNKEYS_")}
    env = kept | {f"VPNKEYS_{name}": text for name, text in given.items()}
    line = [sys.executable, "-m", "vpnkeys", *command]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("kept", "settings", "code", "words"),
    [
        (None, {}, 2, "belongs to no node; `vpnkeys agent join` makes it one"),
        ("{}", {}, 2, "agent.json is damaged: remove it, and join with a new token"),
        ('{"url": "https://127.0.0.1:1", "node": "x", "token": "t", "fingerprint": null, "port_range": "abc"}', {}, 2,
         "agent.json is damaged"),
        ('{"url": "https://127.0.0.1:1", "node": "x", "token": 5, "fingerprint": null, "port_range": "1-2"}', {}, 2,
         "agent.json is damaged"),
        ("", {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, 2, "a node keeps its own state in SQLite"),
        ("", {"LOG_LEVEL": "loud"}, 2, "VPNKEYS_LOG_LEVEL"),
        ("", {}, 1, "/bin/false"),
    ],
)  # fmt: skip
def test_an_agent_that_cannot_start_says_why(
    data_dir: Path, kept: str | None, settings: dict[str, str], code: int, words: str
) -> None:
    """By the exit code that its help names, in one line."""
    if kept is not None:
        NODE.save(data_dir)
    if kept:
        (data_dir / "agent.json").write_text(kept)
    ended, told = said(data_dir, "agent", **settings)
    assert (ended, told.startswith("vpnkeys agent cannot start: ")) == (code, True), told
    assert words in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--no-node",)])
def test_a_machine_that_is_a_node_serves_nothing(data_dir: Path, options: tuple[str, ...]) -> None:
    """No server is started beside a node's own state, and nothing is made there."""
    NODE.save(data_dir)
    ended, told = said(data_dir, "serve", *options)
    assert (ended, len(told.splitlines())) == (2, 1), told
    assert f"{data_dir} belongs to a node" in told
    assert [path.name for path in data_dir.iterdir()] == ["agent.json"]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SettingsError("one is wrong"), 2, "x cannot start: one is wrong\n"),
        (SettingsError("one is wrong\nanother is too"), 2, "x cannot start:\none is wrong\nanother is too\n"),
        (NotOurs("it is another's"), 2, "x cannot start: it is another's\n"),
        (Unavailable("no answer"), 1, "x cannot start: no answer\n"),
    ],
)
def test_what_an_operator_can_mend_is_said_in_words(
    error: Exception, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything else goes on to the log, which asks for a report."""
    with pytest.raises(SystemExit) as ended, starting("x"):
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (code, words)
    with pytest.raises(RuntimeError), starting("x"):
        raise RuntimeError
