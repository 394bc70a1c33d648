"""PostgreSQL clusters of the tests' own: on a Unix socket in a directory of their own, removed with it."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from tests.support import procfs
from tests.support.process import wait_until
from tests.support.started import Started
from vpnkeys.store.sql.opening import open_migrated

OWNER = "vpnkeys"
_TEMPLATE = "migrated"
_DEBIAN = Path("/usr/lib/postgresql")

# Nothing has to survive a power cut, and everything else is as an operator has it. ICU's English order differs from
# the order of Python's strings, as an operator's does.
_INIT = ("--auth=trust", "-U", OWNER, "-E", "UTF8", "--no-sync")
_ORDER = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "replica",
    "hot_standby": "on",
    "timezone": "Asia/Kathmandu",  # times are stored as UTC, wherever the database believes it is
}

# Neither triggers nor foreign keys are asked, of which one would keep the audit log.
_CLEAR = """DO $$ DECLARE one record; BEGIN
SET LOCAL session_replication_role = replica;
FOR one IN SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'generations')
LOOP EXECUTE format('DELETE FROM %I', one.tablename); END LOOP;
FOR one IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'
LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', one.sequencename); END LOOP;
INSERT INTO nodes (name) VALUES ('local');
END $$"""

_started: dict[Path, subprocess.Popen[bytes]] = {}
"""The servers that this process has started, and may leave to others when it ends."""


def missing() -> str | None:
    """Return why there can be no PostgreSQL here; None when there can."""
    if _program("initdb") is None:
        return "PostgreSQL is not installed (Debian's package is postgresql)"
    if os.geteuid() == 0 and _ordinary_user() is None:
        return "PostgreSQL refuses root, and there is no ordinary user to run it"
    return None


def _program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs, which Debian keeps beside PATH, the newest version first."""
    versions = sorted(_DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, versions), os.environ.get("PATH", "")]))


def _ordinary_user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def as_ordinary_user() -> dict[str, Any]:
    """Return the options of `subprocess` that let root start a program as an ordinary user."""
    user = _ordinary_user() if os.geteuid() == 0 else None
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def own_directory(prefix: str) -> Path:
    """Return a new directory of that user; its path is short, as a Unix socket's has to be."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if user := as_ordinary_user():
        os.chown(directory, user["user"], user["group"])
    return directory


class Cluster(Started):
    """One PostgreSQL server. `directory` is where a running one lies that another process has started."""

    def __init__(self, directory: Path | None = None) -> None:
        """Describe it; `start` makes and runs it."""
        self.directory = directory or own_directory("vpnkeys-pg-")
        self.data = self.directory / "data"
        self.settings = dict(_SETTINGS)
        self._cleared = ""

    def start(self) -> None:
        """Make it and run it."""
        self._run("initdb", "-D", str(self.data), *_INIT, *_ORDER)
        self.run()

    def standby(self) -> Cluster:
        """Return a running copy that follows this one, and whose storage every commit here waits for."""
        copy = Cluster()
        where = ("-D", str(copy.data), "-h", str(self.directory), "-U", OWNER)
        self._run("pg_basebackup", *where, "-R", "--no-sync", "-c", "fast")
        copy.run()
        self.set("synchronous_standby_names", "*")
        return copy

    def promote(self) -> None:
        """Let a standby take writes."""
        self.execute("SELECT pg_promote()")

    def run(self) -> None:
        """Run it on the data that it has, and wait until it answers."""
        settings = self.settings | {"unix_socket_directories": str(self.directory)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        postgres = _program("postgres")
        assert postgres is not None
        with (self.directory / "log").open("ab") as log:
            _started[self.directory] = subprocess.Popen(
                [postgres, "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                **as_ordinary_user(),
            )
        if not wait_until(self.answers, 60):
            raise RuntimeError(f"PostgreSQL does not answer:\n{self.log()}")

    def log(self) -> str:
        """Everything that it has printed."""
        return (self.directory / "log").read_text(errors="replace")

    def _run(self, program: str, *arguments: str) -> None:
        found = _program(program)
        assert found is not None
        done = subprocess.run(
            [found, *arguments], capture_output=True, text=True, check=False, cwd=self.directory, **as_ordinary_user()
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    @property
    def pid(self) -> int:
        """The server's process; 0 when there is none."""
        with suppress(FileNotFoundError, IndexError, ValueError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return 0

    def answers(self) -> bool:
        """Whether it lets somebody in."""
        with suppress(psycopg.Error):
            psycopg.connect(self.conninfo("postgres"), connect_timeout=2).close()
            return True
        return False

    def conninfo(self, database: str) -> str:
        """What libpq connects with."""
        return f"host={self.directory} dbname={database} user={OWNER}"

    def url(self, database: str) -> str:
        """The URL of a database, as an operator would set it."""
        return f"postgresql://{OWNER}@/{database}?host={self.directory}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the owner of everything; its rows."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def empty_database(self) -> str:
        """Make an empty database; its URL."""
        return self._made("")

    def database(self) -> str:
        """Make a database as a server makes it at its first start; its URL."""
        return self._made(f"TEMPLATE {_TEMPLATE}")

    def cleared_database(self) -> str:
        """Return an empty database of this shape, the same each time: to make one takes longer than to clear it."""
        if not self._cleared:
            self._cleared = self.database()
        with psycopg.connect(self._cleared, autocommit=True) as connection:
            connection.execute(_CLEAR)
        return self._cleared

    def database_in(self, encoding: str) -> str:
        """Make an empty database whose texts have this encoding; its URL."""
        return self._made(f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER libc")

    def _made(self, how: str) -> str:
        name = f"d{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} {how}")
        return self.url(name)

    def make_template(self) -> None:
        """Make what `database` copies, which is faster than to migrate each time."""
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        open_migrated(self.url(_TEMPLATE)).dispose()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to all the processes that work for it."""
        for one in (self.pid, *self._children()):
            with suppress(ProcessLookupError):
                os.kill(one, number)

    def end_connections(self) -> None:
        """Throw out everybody who is connected now."""
        for one in self._children():
            if Path(f"/proc/{one}/cmdline").read_bytes().startswith(f"postgres: {OWNER} ".encode()):
                os.kill(one, signal.SIGTERM)

    def _children(self) -> list[int]:
        pid = self.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())]

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it; SIGINT ends all connections first, SIGKILL is a crash. What it stores stays."""
        if pid := self.pid:
            self.send_signal(signal.SIGCONT)
            os.kill(pid, how)
            wait_until(lambda: not _lives(pid), 60)
            if child := _started.pop(self.directory, None):
                child.poll()  # it has ended, and nothing else tells that to its object

    def close(self) -> None:
        """End it and remove all that it has."""
        with suppress(FileNotFoundError, ProcessLookupError):
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def _lives(pid: int) -> bool:
    """Whether a process is there that has not ended; one of ours is reaped."""
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    return procfs.is_alive(pid)  # not one that its parent, another worker, has yet to reap


@contextmanager
def shared_cluster(meeting: Path) -> Iterator[Cluster]:
    """Use the cluster that all processes share which name this directory: the first makes it, the last removes it."""
    address = meeting / "postgres.address"
    with (meeting / "postgres.lock").open("a") as turn, (meeting / "postgres.users").open("a") as users:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not address.exists():
            cluster = Cluster()
            cluster.start()
            cluster.make_template()
            address.write_text(str(cluster.directory))
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        try:
            yield (cluster := Cluster(Path(address.read_text())))
        finally:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                address.unlink()
                cluster.close()
