"""Every command's exit code tells a script what happened: 1 refused, 2 a wrong command line, 3 nobody there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.test_cli_commands import COMMANDS
from tests.support.command_runs import Way, by_socket, by_url, run
from tests.support.keys import list_keys
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

ID = "00000000-0000-4000-8000-000000000001"  # a whole UUID: nothing is asked to find the key
_FILLINGS = {
    "keys add": "--count 1 --prefix x",
    "keys extend": "x --days 1",
    "keys rotate": "x --uuid",
    "keys set": "x --name y",
    "top": "--once",
    "tokens add bot": "--scope read",
    "webhooks add": "http://127.0.0.1:1",
    "webhooks set": "x --inactive",
    "nodes set": "x --weight 2",
    **dict.fromkeys(
        (
            *("keys rm", "keys show", "keys link", "keys test", "keys qr", "keys history", "keys online", "keys sub"),
            *("traffic show", "traffic reset", "tokens rotate", "tokens revoke"),
            *("webhooks rm", "webhooks test", "webhooks deliveries", "backups get"),
            *(
                "subscriptions add",
                "subscriptions rm",
                "nodes add",
                "nodes drain",
                "nodes rm",
                "nodes move",
                "nodes replace",
                "import close-door",
            ),
        ),
        "x",
    ),
}
"""What makes the beginning of a command line a whole one."""


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own, without keys."""
    with Service(target) as service:
        service.wait_ready()
        yield service


@pytest.mark.parametrize("way", [by_socket, by_url])
@pytest.mark.parametrize(
    "line",
    [
        "keys link nobody",
        "keys qr nobody",
        "keys rm nobody no-one",
        "keys extend nobody --days 1",
        "keys rotate nobody --sni",
        "keys history nobody",
        "keys online nobody",
        "keys sub nobody --show",
        "tokens rotate nobody",
        "tokens revoke nobody",
        "webhooks set nobody --inactive",
        "nodes set nobody --weight 2",
        "nodes rm nobody",
        "import close-door nobody",
        "backups get nobody -o {file}",
        "traffic history --from 2026-01-01 --to 2025-01-01",
    ],
)
def test_what_is_refused_ends_with_1(service: Service, tmp_path: Path, line: str, way: Way) -> None:
    """The server's words on standard error, as JSON for programs, and nothing on standard output or on the disk."""
    arguments = [part.format(file=tmp_path / "file") for part in line.split()]
    told = run(arguments, way(service))
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith("vpnkeys: ")
    told = run([*arguments, "--json"], way(service))
    assert (told.exit_code, told.stdout) == (1, "")
    assert json.loads(told.stderr)["error"]["code"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "keys add",
        "keys add name --count 2 --prefix x",
        "keys add --count 2",
        "keys add --prefix x",
        "keys add --count 0 --prefix x",
        "keys add --count 1001 --prefix x",
        "keys rm",
        "keys rm ..",
        "keys extend x",
        "keys extend x --days 0",
        f"keys rotate {ID}",
        "keys qr .",
        f"keys sub {ID} --show --revoke",
        f"keys history {ID} --from yesterday",
        "keys history x --step week",
        "traffic show ..",
        "tokens add x",
        "tokens add x --scope root",
        "tokens add x --scope read --expires soon",
        "tokens add x --scope read --quiet --json",
        "tokens rotate x --overlap-hours -1",
        "webhooks set x",
        "nodes set x",
        "audit --limit 0",
        "audit --limit 1001",
        "system",
        "top",
        "top --json",
        "completion tcsh",
    ],
)
def test_a_wrong_command_line_ends_with_2(service: Service, line: str) -> None:
    """And nothing is made or asked for. A program gets one document of it, as of what a server refuses."""
    told = run(line.split(), by_socket(service))
    assert (told.exit_code, list_keys(service)) == (2, [])
    told = run([*line.split(), "--json"], by_socket(service))
    assert (told.exit_code, told.stdout, list_keys(service)) == (2, "", [])
    assert json.loads(told.stderr)["error"].keys() == {"status", "code", "detail", "retry_after_s"}


@pytest.mark.parametrize("line", sorted({line.split("{")[0].split(" -")[0].strip() for line in COMMANDS.values()}))
def test_nobody_there_ends_with_3(tmp_path: Path, line: str) -> None:
    """Whatever it is that nobody answers."""
    arguments = [*line.split(), *_FILLINGS.get(line, "").split()]
    told = run(arguments, {"VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_URL": None})
    assert (told.exit_code, told.stdout) == (3, ""), told.output
    told = run([*arguments, "--json"], {"VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_URL": None})
    assert (told.exit_code, json.loads(told.stderr)["error"]["code"]) == (3, "unreachable")
    assert list(tmp_path.iterdir()) == []
