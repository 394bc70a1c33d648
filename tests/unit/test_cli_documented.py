"""docs/cli.md and the shells know the commands that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vpnkeys.cli.main import _COMMANDS, build_app

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
SHELLS = ("bash", "zsh", "fish")


@cache
def _app() -> typer.Typer:
    return build_app(_COMMANDS)


@cache
def _options() -> dict[str, frozenset[str]]:
    """Each command with its options."""
    return dict(_commands(typer.main.get_command(_app()), ()))


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, frozenset[str]]]:  # noqa: ANN401 - Typer's own
    below = getattr(command, "commands", None)
    if below is None:
        options = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
        yield " ".join(path), frozenset(name for name in options if name.startswith("--"))
        return
    if command.invoke_without_command and path:
        yield " ".join(path), frozenset()
    for name, one in below.items():
        yield from _commands(one, (*path, name))


def test_the_document_has_every_command_and_no_other() -> None:
    """A command that comes or goes is seen here."""
    named = re.findall(
        r"^\| `vpnkeys ([a-z][a-z-]*(?: [a-z0-9][a-z0-9-]*)?)", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(named) == sorted(_options())


def test_the_document_has_every_option_of_a_command_in_its_line() -> None:
    """But those that all have."""
    common = {"--json", "--url", "--api-key", "--fingerprint", "--ca", "--help"}
    # What `keys add` takes, `keys set` takes too, which its line says.
    common_of = {"keys set": _options()["keys add"]}
    text = DOCUMENT.read_text(encoding="utf-8")
    for command, options in _options().items():
        line = next(line for line in text.splitlines() if re.match(rf"\| `vpnkeys {command}[` ]", line))
        missing = {option for option in options - common - common_of.get(command, frozenset()) if option not in line}
        assert missing == set(), command
    assert all(f"`{option}`" in text for option in common - {"--help", "--json"})


@pytest.mark.parametrize("command", [*sorted(_options())])
def test_every_command_tells_its_exit_codes(command: str) -> None:
    """In its own help; there is nothing that could go wrong with a version."""
    told = CliRunner().invoke(_app(), [*command.split(), "--help"], env={"COLUMNS": "500", "TERM": "dumb"})
    assert told.exit_code == 0
    assert re.search("[Ee]xit (codes|status)", told.stdout) or command == "version"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_for_each_shell(shell: str) -> None:
    """The shell itself can read it, where there is one."""
    told = CliRunner().invoke(_app(), ["completion", shell])
    assert (told.exit_code, told.stderr) == (0, "")
    assert "_VPNKEYS_COMPLETE" in told.stdout
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell} here")
    check = [found, "--no-execute"] if shell == "fish" else [found, "-n"]
    read = subprocess.run(check, input=told.stdout, capture_output=True, text=True, timeout=30, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def _completed(words: str, tmp_path: Path) -> list[str]:
    """What bash offers where a line ends like this, asked as bash asks: by the script, in a real bash."""
    program = tmp_path / "vpnkeys"
    program.write_text(f"#!{sys.executable}\nimport vpnkeys.cli\nvpnkeys.cli.main()\n")
    program.chmod(0o755)
    script = f"""
        PATH={tmp_path}:$PATH
        eval "$(vpnkeys completion bash)"
        COMP_WORDS=({words} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _vpnkeys_completion vpnkeys
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bash = shutil.which("bash") or "bash"
    told = subprocess.run(
        [bash, "-c", script], env={**os.environ}, capture_output=True, text=True, timeout=60, check=True
    )
    return told.stdout.split()


def test_bash_completes_commands(tmp_path: Path) -> None:
    """Those of the first level, and those below."""
    assert sorted(_completed("vpnkeys", tmp_path)) == sorted([*_COMMANDS, "version"])
    assert _completed("vpnkeys tokens", tmp_path) == ["list", "add", "rotate", "revoke", "me"]


def test_completing_loads_no_command() -> None:
    """Nobody waits a second for a key press."""
    script = "import sys, atexit; sys.argv = ['vpnkeys']; import vpnkeys.cli; "
    script += "atexit.register(lambda: print(sorted(n for n in sys.modules if n.startswith('vpnkeys.cli.')))); "
    told = subprocess.run(
        [sys.executable, "-c", f"{script}vpnkeys.cli.main()"],
        env={**os.environ, "_VPNKEYS_COMPLETE": "complete_bash", "COMP_WORDS": "vpnkeys ", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "tokens" in told.stdout.split()
    assert told.stdout.splitlines()[-1] == "['vpnkeys.cli.failures', 'vpnkeys.cli.main', 'vpnkeys.cli.program']"
