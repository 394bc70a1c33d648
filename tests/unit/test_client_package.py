"""The client is a distribution of its own: bots install it without the server, the server beside its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import httpx
import pytest
from tests.support.process import REPOSITORY

_OWN = ("vpnkeys/client/", "vpnkeys/wire/")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    """The wheels of both distributions, by name, built as an installation builds them."""
    place = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel", "--no-index", "--no-deps"]
    sources = [REPOSITORY / "client", REPOSITORY]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", place, *sources], check=True, timeout=300)
    return {file.name.partition("-")[0]: zipfile.ZipFile(file) for file in place.glob("*.whl")}


def _files(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if name.startswith("vpnkeys/")}


def test_each_file_is_in_one_of_the_two(wheels: dict[str, zipfile.ZipFile]) -> None:
    """Client and wire in the client's, all else in the server's; together they are the source tree."""
    client, server = _files(wheels["vpnkeys_client"]), _files(wheels["vpnkeys"])
    assert all(name.startswith(_OWN) for name in client)
    assert not any(name.startswith(_OWN) for name in server)
    source = REPOSITORY / "src"
    modules = {str(file.relative_to(source)) for file in source.rglob("*.py")}
    assert {name for name in client | server if name.endswith(".py")} == modules


def test_the_client_needs_httpx_and_pydantic_and_the_server_needs_the_client(
    wheels: dict[str, zipfile.ZipFile],
) -> None:
    """Of the version that is in the tree."""

    def needs(name: str) -> set[str]:
        (record,) = (entry for entry in wheels[name].namelist() if entry.endswith(".dist-info/METADATA"))
        return set(Parser().parsestr(wheels[name].read(record).decode()).get_all("Requires-Dist", []))

    file = REPOSITORY / "client" / "pyproject.toml"
    version = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
    assert needs("vpnkeys_client") == {"httpx>=0.27", "pydantic>=2.9"}
    assert f"vpnkeys-client=={version}" in needs("vpnkeys")


def test_a_bot_runs_on_the_client_alone(wheels: dict[str, zipfile.ZipFile], tmp_path: Path) -> None:
    """Where nothing of the server is: both clients can be imported and made."""
    wheels["vpnkeys_client"].extractall(tmp_path)
    libraries = Path(httpx.__file__).parents[1]
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(libraries)!r}]\n"
        "from vpnkeys.client import AsyncClient, Client\n"
        "Client('https://192.0.2.1:8000', 'key').close(); AsyncClient('https://192.0.2.1:8000', 'key')\n"
        "print(sys.modules['vpnkeys'].__file__, sorted({'fastapi', 'sqlalchemy', 'typer'} & set(sys.modules)))"
    )
    # Without `site`, which would find the source tree of the tests.
    alone = [sys.executable, "-I", "-S", "-c", code]
    told = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert (told.stdout, told.stderr) == ("None []\n", "")
