"""The service under test: `python -m vpnkeys serve` as its own process, on loopback alone."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from tests.support import procfs
from tests.support.binaries import xray_binary
from tests.support.in_process import call
from tests.support.ports import free_port, release_range, reserve_range
from tests.support.process import PATIENCE_S, ChildProcess, ProcessError, wait_until
from tests.support.started import Started
from tests.support.target import RealityTarget
from vpnkeys.xray.host.guard import table_of

_HOST = "127.0.0.1"

new_database: Callable[[], str] | None = None
"""Makes the database of a service that has no data directory yet; None: SQLite in the data directory."""


def _base_environment() -> dict[str, str]:
    """This process's environment without any setting of the product, ready for its module."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VPNKEYS_")}
    env["PYTHONUNBUFFERED"] = "1"
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: compiled once, and not at each start
    spec = importlib.util.find_spec("vpnkeys")
    if spec is not None and spec.submodule_search_locations:
        # The child has to run the very code the tests would import, however it was found.
        above = str(Path(next(iter(spec.submodule_search_locations))).parent)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [above, env.get("PYTHONPATH")]))
    return env


class Service(Started):
    """A service with a data directory of its own; entering the context starts it."""

    def __init__(  # noqa: PLR0913  (all but the first are seldom given)
        self,
        target: RealityTarget,
        *,
        egress_allow: Sequence[str] = (),
        port_count: int = 20,
        data_dir: Path | None = None,
        settings: Mapping[str, str | None] | None = None,
        timeout: float = PATIENCE_S,
    ) -> None:
        """Describe the service.

        `settings` overrides single VPNKEYS_* variables; None leaves one out. A given `data_dir` is
        used and left as it is, one of our own is removed at the end.
        """
        self._own_directory = Path(tempfile.mkdtemp(prefix="vpnkeys-test-"))
        self.data_dir = data_dir or self._own_directory / "data"
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        self.ports = reserve_range(port_count)
        self.address = (_HOST, free_port())
        self.api_key = secrets.token_urlsafe(32)
        self.python = sys.executable
        self.command: tuple[str, ...] = ("-m", "vpnkeys", "serve")
        self._timeout = timeout
        self._child: ChildProcess | None = None
        self._client: httpx.Client | None = None
        self.env = _base_environment() | self._settings(target, egress_allow)
        if new_database is not None and data_dir is None:
            self.env["VPNKEYS_DATABASE_URL"] = new_database()
        for name, value in (settings or {}).items():
            self.env.pop(name, None)
            if value is not None:
                self.env[name] = value
        self._xray = Path(self.env.get("VPNKEYS_XRAY_BIN", xray_binary()))

    def _settings(self, target: RealityTarget, egress_allow: Sequence[str]) -> dict[str, str]:
        """Every setting a service on loopback needs."""
        return {
            "VPNKEYS_DATA_DIR": str(self.data_dir),
            "VPNKEYS_LISTEN": f"{_HOST}:{self.address[1]}",
            "VPNKEYS_SERVER_ADDRESS": _HOST,
            "VPNKEYS_INBOUND_LISTEN": _HOST,
            "VPNKEYS_PORT_RANGE": f"{self.ports.start}-{self.ports.stop - 1}",
            "VPNKEYS_API_KEY": self.api_key,
            "VPNKEYS_REALITY_TARGET": target.address,
            "VPNKEYS_REALITY_SERVER_NAMES": ",".join(target.names),
            "VPNKEYS_XRAY_CA_FILE": str(target.ca_file),
            "VPNKEYS_EGRESS_ALLOW": ",".join(egress_allow),
            "VPNKEYS_XRAY_BIN": str(xray_binary()),
            "VPNKEYS_RATE_LIMITS": "off",
        }

    @property
    def database(self) -> Path | str:
        """The file of its database; the URL of one that is no file."""
        return self.env.get("VPNKEYS_DATABASE_URL") or self.data_dir / "vpnkeys.db"

    @property
    def child(self) -> ChildProcess:
        """The service's process, running or ended."""
        if self._child is None:
            raise ProcessError("the service is not started")
        return self._child

    @property
    def pid(self) -> int:
        """Process id of the service."""
        return self.child.pid

    @property
    def client(self) -> httpx.Client:
        """An HTTP client with the API key; a new one after every start."""
        if self._client is None:
            raise ProcessError("the service is not started")
        return self._client

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"https://{_HOST}:{self.address[1]}"

    def log(self) -> str:
        """Everything the service has printed, over all its starts."""
        return self.child.log()

    def new_client(self, api_key: str | None = None, timeout: float = 60.0) -> httpx.Client:
        """One more HTTP client, with another API key or ("") with none; the caller closes it."""
        key = self.api_key if api_key is None else api_key
        certificate = self.data_dir / "tls" / "cert.pem"
        verify: ssl.SSLContext | bool = False
        if certificate.exists():
            verify = ssl.create_default_context(cafile=str(certificate))
        return httpx.Client(
            base_url=self.base_url,
            headers={"X-API-Key": key} if key else {},
            verify=verify,
            timeout=timeout,
            trust_env=False,  # a proxy of the environment has no business on loopback
        )

    def start(self) -> None:
        """Run the service on the same data directory and wait until /health answers."""
        if self._child is not None and self._child.running:
            raise ProcessError("the service runs already")
        self._child = ChildProcess(
            [self.python, *self.command],
            name="vpnkeys serve",
            log_path=self._own_directory / "log",
            env=self.env,
            cwd=self._own_directory,
        )
        self._child.wait_listening(*self.address, self._timeout)
        self.reconnect()
        self._child.wait_for(self._answers, "answer from /health", self._timeout)

    def be_ready(self) -> None:
        """Run, also where an earlier test has ended it, and wait until clients get in."""
        if not self.child.running:
            self.start()
        self.wait_ready()

    def reconnect(self) -> None:
        """Trust the certificate that is there now, on a new connection."""
        self._close_client()
        self._client = self.new_client()

    def _answers(self) -> bool:
        """Whether /health gives any answer: a service in trouble still tells so."""
        try:
            self.client.get("/health")
        except httpx.TransportError:
            return False
        return True

    def wait_healthy(self, timeout: float = PATIENCE_S) -> None:
        """Wait until the service calls itself healthy."""

        def healthy() -> bool:
            try:
                return bool(self.client.get("/health").json()["status"] == "healthy")
            except httpx.TransportError:
                return False

        self.child.wait_for(healthy, "healthy answer from /health", timeout)

    def wait_ready(self, timeout: float = PATIENCE_S) -> None:
        """Wait until every server name lets a client in at once; Xray has been repaired by then."""
        names = len(self.env["VPNKEYS_REALITY_SERVER_NAMES"].split(","))

        def ready() -> bool:
            try:
                return bool(self.client.get("/health").json()["server_names_ready"] == names)
            except httpx.TransportError:
                return False

        self.child.wait_for(ready, f"{names} server names ready", timeout)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call a command that asks this service, in its environment and in the tests' process."""
        return call(arguments, self.env, self._own_directory)

    def program(self, *arguments: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run any command in the service's environment, as a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "vpnkeys", *arguments],
            env=self.env,
            cwd=self._own_directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def kill(self) -> None:
        """End the service as `kill -9` does; what happens to its Xray is its own business."""
        self.child.kill()

    def stop(self, timeout: float = PATIENCE_S) -> int:
        """Ask the service to end (SIGTERM) and wait; its exit code.

        Our own connection is closed before: an idle one takes up the service's whole grace.
        """
        self._close_client()
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout)

    def find_xray_pid(self) -> int | None:
        """The pid of the Xray below this service, or None; the clients that it runs for tests are others."""
        for pid in procfs.descendants(self.pid):
            if procfs.executable(pid) == self._xray.resolve() and not procfs.mentions(pid, "/client-"):
                return pid
        return None

    def xray_pid(self) -> int:
        """The pid of the Xray below this service; waits a little for it to come up."""
        self.child.wait_for(lambda: self.find_xray_pid() is not None, "Xray below the service")
        pid = self.find_xray_pid()
        if pid is None:
            raise self.child.error("Xray went away")
        return pid

    def leftover_pids(self) -> list[int]:
        """Processes other than the service that work with its data directory, orphans included."""
        programs = {Path(sys.executable).resolve(), self._xray.resolve()}
        return [
            pid
            for pid in procfs.all_pids()
            if pid not in (os.getpid(), self.pid)
            and procfs.executable(pid) in programs
            and procfs.mentions(pid, str(self.data_dir))
        ]

    def close(self) -> None:
        """End everything this service started and remove its files."""
        self._close_client()
        if self._child is not None:
            self._child.stop()
            for pid in self.leftover_pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not any(map(procfs.is_alive, self.leftover_pids())))
            # What a killed service leaves in the kernel, for its next start to replace, which never comes.
            with suppress(FileNotFoundError):
                for suffix in ("", "_speed", "_bounds"):
                    table = ("nft", "delete", "table", "inet", f"{table_of(self.data_dir)}{suffix}")
                    subprocess.run(table, capture_output=True, check=False)
            run = self.data_dir / "run"  # its directory in memory would stay until the next boot
            if run.is_symlink():
                shutil.rmtree(run.readlink(), ignore_errors=True)
        release_range(self.ports)
        shutil.rmtree(self._own_directory, ignore_errors=True)

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
