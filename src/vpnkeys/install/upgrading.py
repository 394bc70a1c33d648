"""From one release to another, with a way back: the new one proves itself on a copy before it gets the data."""

import os
import pwd
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from vpnkeys.install import services
from vpnkeys.install.host import USER, InstallFailed, Say, run_as_server
from vpnkeys.install.layout import Layout, point
from vpnkeys.install.releases import Release, prune

_KEPT_BACKUPS = 3
_PREFIX = "before-upgrade-"


def change(layout: Layout, old: Release, new: Release, say: Say, *, old_runs: bool) -> None:
    """Put a new release in the place of the old one; Xray is not touched. `old_runs`: the old one's Python is there.

    Raises InstallFailed; then the old one serves as before, with the data as they were.
    """
    backup = _back_up(layout, (old if old_runs else new).program)
    say("The new release tries the present settings, and a copy of the present data.")
    prove(layout, new, backup)
    revision = revision_of(layout.data_dir)
    say("Switching; only the server is restarted, Xray goes on.")
    with ExitStack() as undo:
        undo.callback(_go_back, layout, old, backup, revision, say)
        services.write_units(layout, new.units())
        point(layout.current, new.directory)
        services.restart_server()
        services.wait_for_answer(layout, new.version)
        undo.pop_all()
    prune(layout, (old, new))


def prove(layout: Layout, new: Release, backup: Path | None) -> None:
    """Let a release show, as the server's user, that it can work here. Raises InstallFailed; nothing was changed."""
    try:
        run_as_server(new.program, "serve", "--help", data_dir=layout.data_dir)
        run_as_server(new.python, "-I", "-m", "vpnkeys.xray.binary", layout.current_xray, data_dir=layout.data_dir)
        if backup is not None:
            with tempfile.TemporaryDirectory(prefix="vpnkeys-proof-") as room:
                user = pwd.getpwnam(USER)
                os.chown(room, user.pw_uid, user.pw_gid)
                run_as_server(new.program, "restore", backup, data_dir=Path(room))
    except InstallFailed as error:
        raise InstallFailed(
            f"the new release is not fit for this installation; nothing was changed. {error}"
        ) from error


def revision_of(data_dir: Path) -> str | None:
    """Which version the database has; None when there is none."""
    database = data_dir / "vpnkeys.db"
    if not database.is_file():
        return None
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10.0)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError:
            return None
    return str(row[0]) if row else None


def _back_up(layout: Layout, program: Path) -> Path | None:
    """A backup by the code that made the data; None when there are none yet."""
    if revision_of(layout.data_dir) is None:
        return None
    directory = layout.data_dir / "backups"
    file = directory / f"{_PREFIX}{datetime.now(UTC):%Y%m%d-%H%M%S}.backup"
    user = pwd.getpwnam(USER)
    directory.mkdir(mode=0o700, exist_ok=True)
    os.chown(directory, user.pw_uid, user.pw_gid)
    run_as_server(program, "backup", file, data_dir=layout.data_dir)
    for path in sorted(directory.glob(f"{_PREFIX}*.backup"))[:-_KEPT_BACKUPS]:
        path.unlink(missing_ok=True)
    return file


def _go_back(layout: Layout, old: Release, backup: Path | None, revision: str | None, say: Say) -> None:
    """The old release, with the database as it can read it. Says by itself what does not work."""
    say("The new release does not serve; going back to the old one.")
    try:
        services.stop_server()
        point(layout.current, old.directory)
        services.write_units(layout, old.units())
        if backup is not None and revision_of(layout.data_dir) != revision:
            run_as_server(old.program, "restore", backup, "--force", data_dir=layout.data_dir)
        services.restart_server()
        services.wait_for_answer(layout, old.version)
    except InstallFailed as error:
        say(f"The old release does not serve either: {error}")
        if backup is not None:
            say(f"The data as they were: systemctl stop vpnkeys && vpnkeys restore --force {backup}")
    else:
        say(f"vpnkeys {old.version} serves again, with the data as they were.")
