"""PgBouncer in transaction mode before a cluster: what one transaction sets is gone in the next."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import psycopg

from tests.support.postgres import OWNER, Cluster, as_ordinary_user, own_directory
from tests.support.process import wait_until
from tests.support.started import Started

_PORT = 6432  # only a part of the socket's name

_INI = """
[databases]
* = host={behind} port=5432 user={owner}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {here}
auth_type = any
pool_mode = transaction
server_login_retry = 1
server_connect_timeout = 2
logfile = {here}/log
"""


def pgbouncer() -> str | None:
    """Return the path of Debian's PgBouncer; None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Pooler(Started):
    """One PgBouncer; `lead_to` puts another cluster behind it."""

    def __init__(self, behind: Cluster) -> None:
        """Describe it."""
        self.directory = own_directory("vpnkeys-pb-")
        self._behind = behind
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, and wait until a query gets through."""
        self._write()
        program = pgbouncer()
        assert program is not None
        self._process = subprocess.Popen(
            [program, "-q", str(self.directory / "ini")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            **as_ordinary_user(),
        )
        assert wait_until(self._answers, 60), (self.directory / "log").read_text()

    def lead_to(self, behind: Cluster) -> None:
        """Let all transactions from now on go to another cluster."""
        self._behind = behind
        self._write()
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def url(self, database: str) -> str:
        """The URL of a database through it."""
        return f"postgresql://{OWNER}@/{database}?host={self.directory}&port={_PORT}"

    def _write(self) -> None:
        ini = _INI.format(behind=self._behind.directory, owner=OWNER, port=_PORT, here=self.directory)
        (self.directory / "ini").write_text(ini)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, prepare_threshold=None) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """End it and remove its files."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
