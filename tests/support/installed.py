"""vpnkeys installed in a guest, with a REALITY target, far ends and customers in the guest's network."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.binaries import xray_binary
from tests.support.borrowed import borrow_libraries
from tests.support.clients import XrayClient
from tests.support.guest import Guest
from tests.support.keys import Key, carries, lasting
from tests.support.link import VlessLink
from tests.support.process import REPOSITORY, wait_until
from tests.support.rootfs import wheels_for
from tests.support.socks import Address
from tests.support.streams import ByteServer, Echo, PingPong
from tests.support.target import RealityTarget

NAMES = ("one.example.com", "two.example.com")
SERVER, XRAY = "vpnkeys.service", "vpnkeys-xray.service"

_PIP = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels /opt"}
_LONG_S = 400.0
_ROOT_FILES = ("pyproject.toml", "requirements.txt", "README.md", "run")


class Installed:
    """The guest and all that lives in its network. Entering the context boots and installs."""

    def __init__(self, egress_allow: Sequence[str] = (), revision: str = "") -> None:
        """Make the guest; with a git revision, its tree is the first that is installed.

        Raises NoGuestError where there cannot be a guest.
        """
        self.guest = Guest()
        self._revision = revision
        self._egress_allow = egress_allow
        self._network = ExitStack()
        self.target = RealityTarget(NAMES, close_idle_s=0.1)
        self.bytes, self.echo = ByteServer(), Echo()
        self.first_words = ""

    def tree(self, name: str) -> Path:
        """A copy of this source tree in the guest's /opt."""
        tree = self.guest.root / "opt" / name
        shutil.copytree(REPOSITORY / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for room in ("client", "scripts"):
            shutil.copytree(REPOSITORY / room, tree / room)
        for file in _ROOT_FILES:
            shutil.copy(REPOSITORY / file, tree / file)
        return tree

    def tree_of(self, revision: str, name: str) -> None:
        """A git revision of this source tree in the guest's /opt, with the wheels that only it needs."""
        tree = self.guest.root / "opt" / name
        tree.mkdir()
        archive = subprocess.run(["git", "-C", REPOSITORY, "archive", revision], capture_output=True, check=True)
        subprocess.run(["tar", "--extract", "--directory", tree], input=archive.stdout, check=True)
        present = {path.name for path in self.guest.wheels.iterdir()}
        for wheel in wheels_for(self.guest.python, tree / "requirements.txt").iterdir():
            if wheel.name not in present:
                shutil.copy(wheel, self.guest.root / "opt")

    def newer(self, version: str) -> Path:
        """A copy of this source tree that calls itself by another version, and has the first one's libraries."""
        tree = self.tree(f"vpnkeys-{version}")
        replace(tree / "pyproject.toml", r'^version = ".*"', f'version = "{version}"')
        replace(tree / "src/vpnkeys/__init__.py", r'^__version__ = ".*"', f'__version__ = "{version}"')
        borrow_libraries(tree, f"/opt/vpnkeys-src/.venv/lib/python{self.guest.python}/site-packages")
        return tree

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command inside that may take minutes."""
        return self.guest.run(*command, timeout=_LONG_S, **_PIP)

    def cli(self, *arguments: str) -> Any:  # noqa: ANN401 - any JSON
        """What `vpnkeys … --json` prints inside."""
        return json.loads(self.guest.ok("vpnkeys", *arguments, "--json"))

    def health(self) -> dict[str, Any]:
        """The server's health; empty while it does not answer."""
        with httpx.Client(verify=False, trust_env=False) as client:  # noqa: S501 - in the guest, which is ours
            try:
                found: dict[str, Any] = client.get("https://127.0.0.1:8000/health").json()
            except httpx.TransportError:
                return {}
        return found

    def wait_ready(self) -> None:
        """Until every server name lets a client in."""
        assert wait_until(lambda: self.health().get("server_names_ready") == len(NAMES)), self.journal()

    def journal(self) -> str:
        """All that the guest has logged."""
        return self.guest.ok("journalctl", "--no-pager")

    def new_link(self) -> VlessLink:
        """The link of a new key, by the command for people."""
        return VlessLink.parse(self.cli("keys", "add", "me")["vless_url"])

    def total(self, link: VlessLink) -> int:
        """What the key of a link has used, counted now."""
        return int(self.cli("traffic", "show", link.uuid)["total_bytes"])

    def wait_carries(self, proxy: Address) -> None:
        """Until known bytes get through."""
        assert wait_until(lambda: carries(proxy, self.bytes)), self.journal()

    @contextmanager
    def customer(self, link: VlessLink) -> Iterator[PingPong]:
        """A customer with a connection that carries bytes all the time."""
        with XrayClient(link) as client:
            self.wait_carries(client.socks)
            with PingPong(self.echo.open(client.socks)) as pings:
                assert wait_until(lambda: len(pings.round_trips_s) > 0)
                yield pings

    def reboot(self) -> None:
        """Shut the guest down and boot it again; target and far ends come back where they were."""
        self._leave_network()
        self.guest.shut_down()
        self.guest.start()
        self._enter_network()

    def _enter_network(self) -> None:
        self._network.enter_context(self.guest.attached())
        for server in (self.target, self.bytes, self.echo):
            server.start()

    def _leave_network(self) -> None:
        for server in (self.target, self.bytes, self.echo):
            server.stop()
        self._network.close()

    def __enter__(self) -> Self:
        """Boot, and install this source tree as an operator would who has written his settings already."""
        try:
            self.guest.start()
            self._enter_network()
            self._set_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _set_up(self) -> None:
        root = self.guest.root
        shutil.copy(self.target.ca_file, root / "opt/ca.pem")
        shutil.copy(xray_binary(), root / "opt/xray-given")
        data_dir = root / "var/lib/vpnkeys"
        data_dir.mkdir(mode=0o700)
        settings = {
            "SERVER_ADDRESS": "127.0.0.1",
            "REALITY_TARGET": self.target.address,
            "REALITY_SERVER_NAMES": ",".join(NAMES),
            "XRAY_CA_FILE": "/opt/ca.pem",
            "EGRESS_ALLOW": ",".join([self.bytes.egress_rule, self.echo.egress_rule, *self._egress_allow]),
        }
        lines = [f"VPNKEYS_{name}={value}\n" for name, value in settings.items()]
        (data_dir / "vpnkeys.env").write_text("".join(lines))
        if self._revision:
            self.tree_of(self._revision, "vpnkeys-src")
        else:
            self.tree("vpnkeys-src")
        self.first_words = self.install()
        self.wait_ready()

    def install(self) -> str:
        """What `./run --install` of the first tree says."""
        done = self.try_to_install()
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.journal()}"
        return done.stderr

    def try_to_install(self, *other: str) -> subprocess.CompletedProcess[str]:
        """`./run --install` of the first tree, or another command that installs."""
        command = other or ("/opt/vpnkeys-src/run", "--install")
        return self.guest.run(*command, timeout=_LONG_S, **_PIP, VPNKEYS_XRAY_BIN="/opt/xray-given")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End and remove everything."""
        self._network.close()
        for server in (self.target, self.bytes, self.echo):
            server.close()
        self.guest.close()


def replace(file: Path, pattern: str, text: str) -> None:
    """Change the one place in a file that a pattern finds."""
    content, count = re.subn(pattern, text, file.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{pattern} is {count} times in {file}"
    file.write_text(content)


def releases(site: Installed) -> list[str]:
    """What is kept under /opt."""
    return sorted(path.name for path in (site.guest.root / "opt/vpnkeys/releases").iterdir())


def lasting_keys(site: Installed) -> list[Key]:
    """All keys, without what they have used."""
    return [lasting(key) for key in site.cli("keys", "list")]


def xrays(site: Installed) -> list[str]:
    """The Xrays that are kept beside each other."""
    return sorted(path.name for path in (site.guest.root / "opt/vpnkeys/xray").iterdir())


def revision(site: Installed) -> str:
    """Where the database is."""
    database = site.guest.root / "var/lib/vpnkeys/vpnkeys.db"
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def left_behind(site: Installed) -> list[Path]:
    """What an installation has outside its data."""
    root = site.guest.root
    units = [path for path in (root / "etc/systemd/system").rglob("vpnkeys*") if path.is_file() or path.is_symlink()]
    places = ("opt/vpnkeys/current", "usr/local/bin/vpnkeys")
    return [*units, *(root / "opt/vpnkeys").glob("releases/*"), *(p for p in map(root.joinpath, places) if p.exists())]
