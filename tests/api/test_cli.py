"""The command line against the real service: by its Unix socket, and by its URL as from elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segno
from tests.support.in_process import call
from tests.support.keys import list_keys, make_key
from tests.support.link import VlessLink
from tests.support.ports import free_port
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.settings import admin_socket, load_settings

pytestmark = pytest.mark.e2e

_STRANGER = "00" * 32


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        service.wait_ready()
        yield service


def _run(service: Service, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command as somebody else would run it: with no setting of the service but those given."""
    return call(arguments, {**_without_settings(service), **settings}, Path("/"))


def _without_settings(service: Service) -> dict[str, str]:
    return {name: value for name, value in service.env.items() if not name.startswith("VPNKEYS_")}


def _local(service: Service) -> dict[str, str]:
    return {"VPNKEYS_DATA_DIR": str(service.data_dir)}


def _remote(service: Service) -> dict[str, str]:
    ca = str(service.data_dir / "tls" / "cert.pem")
    return {"VPNKEYS_URL": service.base_url, "VPNKEYS_API_KEY": service.api_key, "VPNKEYS_CA": ca}


class TestKeys:
    """`vpnkeys keys`."""

    @pytest.mark.parametrize("way", [_local, _remote], ids=["socket", "url"])
    def test_a_key_from_its_making_to_its_end(self, service: Service, way: Callable[[Service], dict[str, str]]) -> None:
        """Add, list, show and remove by either way, as JSON; 0 each time."""
        settings = way(service)
        added = _run(service, "keys", "add", "Мария", "--json", **settings)
        assert (added.returncode, added.stderr) == (0, "")
        config = json.loads(added.stdout)
        key = config["key"]
        assert VlessLink.parse(config["vless_url"]).name == key["name"] == "Мария"
        assert key == service.client.get(f"/api/keys/{key['id']}").json()
        listed = _run(service, "keys", "list", "--json", **settings)
        assert json.loads(listed.stdout) == list_keys(service)
        shown = _run(service, "keys", "show", key["uuid"], "--json", **settings)
        assert json.loads(shown.stdout) == config
        removed = _run(service, "keys", "rm", key["id"], "--json", **settings)
        assert (removed.returncode, json.loads(removed.stdout)) == (0, {"message": "Key deleted successfully"})
        assert key["id"] not in [key["id"] for key in list_keys(service)]

    def test_people_get_a_table_and_a_link_to_copy(self, service: Service) -> None:
        """Names are text, whatever they look like; the link stands alone on its line, whole."""
        name = "[red]not markup[/red] :smile:"
        added = _run(service, "keys", "add", name, **_local(service))
        link = service.client.get(f"/api/keys/{list_keys(service)[-1]['id']}/config").json()["vless_url"]
        assert name in added.stdout
        assert added.stdout.splitlines()[-1] == link
        assert name in _run(service, "keys", "list", **_local(service)).stdout

    def test_a_qr_code_holds_the_link(self, service: Service) -> None:
        """The picture on the terminal is that of the link, module by module."""
        key = make_key(service, "qr")
        shown = _run(service, "keys", "show", key["id"], "--qr", **_local(service))
        link = shown.stdout.splitlines()[-1]
        picture = [line for line in shown.stdout.splitlines() if re.fullmatch("[ ▀▄█]+", line)]
        rows = [[half in light for half in line] for line in picture for light in ("█▀", "█▄")]
        code = segno.make_qr(link, error="l")
        wanted = [[not dark for dark in row] for row in code.matrix_iter(border=4)]
        assert [row[: len(wanted)] for row in rows[: len(wanted)]] == wanted

    def test_a_picture_is_no_json(self, service: Service) -> None:
        """--qr with --json is refused before anything is made."""
        before = list_keys(service)
        assert _run(service, "keys", "add", "x", "--qr", "--json", **_local(service)).returncode == 2
        assert list_keys(service) == before

    @pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, True), ("y\n", 0, False)])
    def test_a_person_is_asked_before_a_key_goes(self, service: Service, answer: str, code: int, left: bool) -> None:
        """On a terminal, naming the key; "no" keeps it."""
        key = make_key(service, "asked")
        ended, shown = _on_a_terminal(service, ["keys", "rm", key["id"]], answer)
        assert ended == code
        assert "asked" in shown
        assert (key in list_keys(service)) is left

    def test_yes_asks_nothing(self, service: Service) -> None:
        """--yes on a terminal."""
        key = make_key(service, "yes")
        assert _on_a_terminal(service, ["keys", "rm", "--yes", key["id"]], "")[0] == 0
        assert key not in list_keys(service)


def _on_a_terminal(service: Service, arguments: list[str], answer: str) -> tuple[int, str]:
    """(exit code, what was shown) of a command whose input and error output are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "vpnkeys", *arguments],
        env={**service.env},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as command:
        os.close(theirs)
        shown = b""
        if answer:
            while b"?" not in shown and select.select([ours], [], [], 30)[0]:
                shown += os.read(ours, 1000)
            os.write(ours, answer.encode())
        code = command.wait(30)
    os.close(ours)
    return code, shown.decode()


class TestTrafficAndStatus:
    """`vpnkeys traffic` and `vpnkeys status`."""

    def test_traffic(self, service: Service) -> None:
        """Show it and reset it."""
        key = make_key(service, "traffic")
        shown = _run(service, "traffic", "show", key["id"], "--json", **_local(service))
        assert json.loads(shown.stdout)["total_bytes"] == 0
        assert "0 B" in _run(service, "traffic", "show", key["id"], **_local(service)).stdout
        assert _run(service, "traffic", "reset", key["id"], **_local(service)).returncode == 0

    def test_status(self, service: Service) -> None:
        """What /health says, and the number of keys."""
        status = _run(service, "status", "--json", **_local(service))
        report = json.loads(status.stdout)
        assert status.returncode == 0
        assert report.pop("keys_count") == len(list_keys(service))
        assert report.keys() == service.client.get("/health").json().keys()
        assert report["status"] in _run(service, "status", **_local(service)).stdout


class TestExitCodes:
    """A script can tell what happened."""

    def test_no_such_key(self, service: Service) -> None:
        """1, and the server's words; as JSON for programs."""
        told = _run(service, "keys", "show", "nobody", **_local(service))
        assert (told.returncode, told.stdout) == (1, "")
        assert "No key" in told.stderr
        told = _run(service, "traffic", "show", "nobody", "--json", **_local(service))
        assert (told.returncode, json.loads(told.stderr)["error"]["code"]) == (1, "key_not_found")

    def test_a_wrong_api_key(self, service: Service) -> None:
        """1: it was refused."""
        settings = {**_remote(service), "VPNKEYS_API_KEY": "wrong" * 4}
        assert _run(service, "keys", "list", **settings).returncode == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["keys", "list", "--url", "https://127.0.0.1:1"],
            ["keys", "list", "--url", "ftp://x", "--api-key", "k"],
            ["keys", "list", "--url", "https://127.0.0.1:1", "--api-key", "k", "--fingerprint", "12:34"],
            ["keys", "list", "--url", "https://127.0.0.1:1", "--api-key", "k", "--ca", "/nowhere.pem"],
            ["keys", "show"],
            ["keys", "list", "--nonsense"],
        ],
    )
    def test_a_wrong_command_line(self, service: Service, arguments: list[str]) -> None:
        """2, and a word about it; no traceback."""
        told = _run(service, *arguments)
        assert told.returncode == 2
        assert told.stderr
        assert "Traceback" not in told.stderr

    def test_nobody_there(self, service: Service, tmp_path: Path) -> None:
        """3: on a directory without a server, where one was killed, and at a URL where none is."""
        assert _run(service, "status", VPNKEYS_DATA_DIR=str(tmp_path)).returncode == 3
        left_behind = admin_socket(tmp_path)
        left_behind.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(left_behind))
        # In a process of its own: a socket that cannot connect is left by httpcore to the garbage collector.
        env = {**_without_settings(service), "VPNKEYS_DATA_DIR": str(tmp_path)}
        assert subprocess.run([sys.executable, "-m", "vpnkeys", "status"], env=env, check=False).returncode == 3
        url = f"https://127.0.0.1:{free_port()}"
        told = _run(service, "keys", "list", "--url", url, "--fingerprint", _STRANGER, VPNKEYS_API_KEY="k")
        assert told.returncode == 3

    def test_another_certificate(self, service: Service) -> None:
        """3, and the fingerprint that was found."""
        arguments = ["keys", "list", "--url", service.base_url, "--fingerprint", _STRANGER]
        told = _run(service, *arguments, VPNKEYS_API_KEY=service.api_key)
        assert told.returncode == 3
        assert "fingerprint" in told.stderr


def test_settings_of_the_commands_do_not_hinder_the_server(tmp_path: Path) -> None:
    """Both may run in one environment."""
    environment = {
        "VPNKEYS_DATA_DIR": str(tmp_path),
        "VPNKEYS_URL": "https://x",
        "VPNKEYS_FINGERPRINT": "y",
        "VPNKEYS_CA": "z",
    }
    assert load_settings(environment).data_dir == tmp_path


@pytest.mark.parametrize("command", [["keys"], ["keys", "add"], ["keys", "rm"], ["traffic"], ["status"]])
def test_help_tells_the_exit_codes(service: Service, command: list[str]) -> None:
    """Where people look for them."""
    told = _run(service, *command, "--help", COLUMNS="500", TERM="dumb")
    assert "Exit codes: 0 done" in told.stdout


def test_asking_a_server_loads_no_server(service: Service) -> None:
    """Commands that people wait for are quick: what only `serve` needs is not imported for them."""
    unwanted = {"sqlalchemy", "fastapi", "h2", "uvicorn", "cryptography", "click", "pygments", "segno", "rich.progress"}
    script = "import sys; sys.argv = ['vpnkeys', 'keys', 'list']; import vpnkeys.cli, atexit; "
    script += f"atexit.register(lambda: print(sorted({unwanted} & sys.modules.keys())))"
    told = subprocess.run(
        [sys.executable, "-c", f"{script}; vpnkeys.cli.main()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**_without_settings(service), **_local(service)},
    )
    assert told.stdout.splitlines()[-1] == "[]"


def test_serving_loads_no_client() -> None:
    """A server is there sooner, and smaller, without what only commands need, and without the other database."""
    unwanted = {
        *("vpnkeys.client", "rich.console", "httpx", "segno", "acme", "prometheus_client"),
        *("sqlalchemy.dialects.postgresql", "psycopg", "alembic", "argparse"),
    }
    script = f"import sys; import vpnkeys.cli.commands.serve; print(sorted({unwanted} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "[]\n"
