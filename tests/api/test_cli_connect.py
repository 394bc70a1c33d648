"""How a command reaches its server: what `vpnkeys help connect` says is true, and a stranger is shown, not trusted."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.support.in_process import call
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.cli.main import _COMMANDS, build_app

pytestmark = pytest.mark.e2e

_EXPORT = re.compile(r"^ +export (VPNKEYS_\w+)=(\S+)(?: +# or (--[\w-]+))?", re.MULTILINE)
_PRINTED = "certificate (SHA-256): "


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own, which gets through no name: its API is all that is asked."""
    with Service(target) as service:
        yield service


@pytest.fixture
def fingerprint(service: Service) -> str:
    """What the service printed for people to copy."""
    return next(line for line in service.log().splitlines() if line.startswith(_PRINTED)).removeprefix(_PRINTED)


def _run(service: Service, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command on somebody else's machine: with no setting of the service but those given."""
    own = {name: value for name, value in service.env.items() if not name.startswith("VPNKEYS_")}
    return call(arguments, {**own, **settings}, Path("/"))


def _explained(service: Service) -> str:
    told = _run(service, "help", "connect")
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout


def test_what_is_explained_connects(service: Service, fingerprint: str) -> None:
    """Each variable and each option that it names, with this server's values, by either kind of trust."""
    named = {variable: option for variable, _, option in _EXPORT.findall(_explained(service))}
    values = {
        "VPNKEYS_URL": service.base_url,
        "VPNKEYS_API_KEY": service.api_key,
        "VPNKEYS_FINGERPRINT": fingerprint,
        "VPNKEYS_CA": str(service.data_dir / "tls" / "cert.pem"),
    }
    assert named.keys() == values.keys()
    for trust in ("VPNKEYS_FINGERPRINT", "VPNKEYS_CA"):
        settings = {name: values[name] for name in ("VPNKEYS_URL", "VPNKEYS_API_KEY", trust)}
        assert _run(service, "keys", "list", "--json", **settings).stdout.strip() == "[]"
        options = [word for name, value in settings.items() for word in (named[name], value)]
        assert _run(service, "keys", "list", "--json", *options).stdout.strip() == "[]"
    assert "VPNKEYS_DATA_DIR" in _explained(service)
    assert _run(service, "keys", "list", "--json", VPNKEYS_DATA_DIR=str(service.data_dir)).stdout.strip() == "[]"


def test_it_is_explained_once(service: Service) -> None:
    """No command's help has these options; where they apply, it says where they are explained."""
    options = {option for _, _, option in _EXPORT.findall(_explained(service))}
    command: Any = typer.main.get_command(build_app(_COMMANDS))
    parameters = command.commands["keys"].commands["list"].params
    hidden = {name for one in parameters if one.hidden for name in one.opts}
    assert options == hidden
    for words in (["keys", "list"], ["keys", "add"], ["traffic", "show"], ["status"], ["audit"]):
        told = _run(service, *words, "--help", COLUMNS="200", TERM="dumb").stdout
        assert not any(option in told for option in options), words
        assert "vpnkeys help connect" in told, words


def test_help_alone_is_help_too(service: Service) -> None:
    """There is one topic so far; one that does not exist is code 2, and names it."""
    assert _run(service, "help").stdout == _explained(service)
    told = _run(service, "help", "cooking")
    assert (told.returncode, "connect" in told.stderr) == (2, True)


def _asked(service: Service) -> int:
    """How often the list of keys was asked for."""
    lines = service.client.get("/metrics").text.splitlines()
    counted = [line for line in lines if "requests_total" in line and 'route="/api/keys"' in line]
    return int(sum(float(line.split()[-1]) for line in counted))


def test_a_server_without_a_fingerprint(service: Service, fingerprint: str) -> None:
    """It is shown its fingerprint and how to trust it, and nothing is sent; what is printed then works as it stands."""
    before = _asked(service)
    remote = {"VPNKEYS_URL": service.base_url, "VPNKEYS_API_KEY": service.api_key}
    told = _run(service, "keys", "list", **remote)
    assert (told.returncode, told.stdout) == (3, "")
    assert f"\n  {fingerprint}\n" in told.stderr
    assert "journalctl -u vpnkeys | grep SHA-256" in told.stderr  # which finds the line that was printed at the start
    assert "SHA-256" in _PRINTED
    assert service.api_key not in told.stderr
    assert _asked(service) == before
    ((variable, value, _),) = _EXPORT.findall(told.stderr)
    assert _run(service, "keys", "list", "--json", **remote, **{variable: value}).stdout.strip() == "[]"
    as_json = json.loads(_run(service, "keys", "list", "--json", **remote).stderr)["error"]
    assert (as_json["code"], fingerprint in as_json["detail"]) == ("untrusted_certificate", True)
