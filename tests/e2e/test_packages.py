"""The packages of a release: the same bytes from each build, and a server that runs from the wheel alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.clients import XrayClient
from tests.support.keys import carries, link_of, make_key
from tests.support.process import REPOSITORY, wait_until
from tests.support.rootfs import NoGuestError, wheels_for
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

from vpnkeys import __version__

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_LONG_S = 500.0
_NOTHING: Mapping[str, str] = {}


def _run(*command: str | Path, cwd: Path | None = None, umask: int = 0o022, env: Mapping[str, str] = _NOTHING) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=_LONG_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def _built(place: Path, *, umask: int = 0o022, env: Mapping[str, str] = _NOTHING) -> dict[str, bytes]:
    """The packages of the present commit, by file name."""
    _run(REPOSITORY / "scripts" / "build.sh", "HEAD", place, umask=umask, env=env)
    return {file.name: file.read_bytes() for file in place.iterdir()}


@pytest.fixture(scope="module")
def revision() -> str:
    """The present commit."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("packages are built from commits, and this tree is no checkout")
    return _run("git", "-C", REPOSITORY, "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def packages(revision: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages of the present commit."""
    place = tmp_path_factory.mktemp(f"packages-{revision[:7]}")
    assert set(_built(place)) == {
        f"vpnkeys-{__version__}-py3-none-any.whl",
        f"vpnkeys-{__version__}.tar.gz",
        f"vpnkeys_client-{__version__}-py3-none-any.whl",
        f"vpnkeys_client-{__version__}.tar.gz",
    }
    return place


def test_each_build_makes_the_same_bytes(packages: Path, tmp_path: Path) -> None:
    """In another directory, time zone, locale and file mode mask, and with another order of hashes."""
    again = _built(tmp_path, umask=0o077, env={"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"})
    assert again == {file.name: file.read_bytes() for file in packages.iterdir()}


@pytest.mark.parametrize("name", ["vpnkeys_client", "vpnkeys"])
def test_the_source_package_makes_the_same_wheel(packages: Path, tmp_path: Path, name: str) -> None:
    """Whoever builds from it, as distributions do, gets what is published."""
    with tarfile.open(packages / f"{name}-{__version__}.tar.gz") as archive:
        stamp = str(next(int(member.mtime) for member in archive))
        archive.extractall(tmp_path, filter="data")
    tree = tmp_path / f"{name}-{__version__}"
    build = (sys.executable, "-I", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    _run(*build, cwd=tree, env={"SOURCE_DATE_EPOCH": stamp})
    wheel = f"{name}-{__version__}-py3-none-any.whl"
    assert (tmp_path / wheel).read_bytes() == (packages / wheel).read_bytes()


@pytest.fixture(scope="module")
def python(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh virtual environment with both wheels and what they need."""
    try:
        wheels = wheels_for(f"{sys.version_info.major}.{sys.version_info.minor}")
    except NoGuestError as error:
        pytest.skip(f"the packages that vpnkeys needs cannot be had: {error}")
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    _run(sys.executable, "-I", "-m", "venv", "--without-pip", venv)
    pip: list[str | Path] = [sys.executable, "-I", "-m", "pip", "--python", venv / "bin" / "python", "install"]
    pip += ["--quiet", "--no-index"]
    pip += ["--no-compile"]  # a minute of it, for modules of which few are loaded
    _run(*pip, "--require-hashes", "--find-links", wheels, "-r", REPOSITORY / "requirements.txt")
    _run(*pip, *packages.glob("*.whl"))  # it refuses them when something that they need is missing
    return venv / "bin" / "python"


@pytest.fixture
def service(python: Path, target: RealityTarget, byte_server: ByteServer) -> Iterator[Service]:
    """A server that runs from the wheel: the tree of the tests is out of its reach."""
    service = Service(target, egress_allow=[byte_server.egress_rule])
    service.python = str(python)
    service.command = ("-I", "-m", "vpnkeys", "serve")
    with service:
        yield service


def test_a_server_runs_from_the_wheel(service: Service, revision: str, byte_server: ByteServer) -> None:
    """To the first byte through a key; and it says which package it is, and of which revision."""
    with XrayClient(link_of(service, make_key(service, "me"))) as client:
        assert wait_until(lambda: carries(client.socks, byte_server))
    told = subprocess.run(
        [Path(service.python).with_name("vpnkeys"), "version", "--check", "--json"],
        env={name: value for name, value in service.env.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=_LONG_S,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert (said["installed"]["kind"], said["installed"]["revision"]) == ("package", revision)
    assert said["installed"]["path"].startswith(str(Path(service.python).parents[1]))
    assert (said["server"]["version"], said["xray"]["is_running"]) == (__version__, True)
