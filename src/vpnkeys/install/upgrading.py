"""Upgrades: the new release is tested on a copy of the data, then gets the data; a failure restores the old one."""

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
"""Not the prefix of daily backups, whose removal of old ones would remove these too."""


def change(layout: Layout, old: Release, new: Release, say: Say, *, old_runs: bool) -> None:
    """Replace the old release by the new one; Xray is not touched. `old_runs` says that the old one still starts.

    Raises InstallFailed; then the old one runs as before, with the data as they were.
    """
    # The old code knows the data best; the new one makes the backup only where the old one's Python is gone.
    backup = _back_up(layout, (old if old_runs else new).program)
    say("Testing the new release with the present settings and a copy of the present data.")
    prove(layout, new, backup)
    revision = revision_of(layout.data_dir)
    say("Switching to the new release; only the server is restarted, Xray goes on.")
    with ExitStack() as undo:
        # Registered before the first step, so that Ctrl-C during any of them goes back too.
        undo.callback(_go_back, layout, old, backup, revision, say)
        services.write_units(layout, new.units())
        point(layout.current, new.directory)
        services.restart_server()
        services.wait_for_answer(layout, new.version)
        undo.pop_all()
    prune(layout, (old, new))


def prove(layout: Layout, new: Release, backup: Path | None) -> None:
    """Test as the server's user whether a release works here. Raises InstallFailed; nothing was changed.

    `backup` is restored into a temporary directory, which migrates it, so that a migration cannot fail later.
    """
    try:
        run_as_server(new.program, "serve", "--help", data_dir=layout.data_dir)
        run_as_server(new.python, "-I", "-m", "vpnkeys.xray.binary", layout.current_xray, data_dir=layout.data_dir)
        if backup is not None:
            with tempfile.TemporaryDirectory(prefix="vpnkeys-proof-") as room:
                user = pwd.getpwnam(USER)
                os.chown(room, user.pw_uid, user.pw_gid)
                run_as_server(new.program, "restore", backup, data_dir=Path(room))
    except InstallFailed as error:
        raise InstallFailed(f"the new release does not work here; nothing was changed. {error}") from error


def revision_of(data_dir: Path) -> str | None:
    """Return the version of the database's schema; None when there is no database."""
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
    """Make a backup with the release that wrote the data, and return its file; None when there are no data yet."""
    if revision_of(layout.data_dir) is None:
        return None
    directory = layout.data_dir / "backups"
    file = directory / f"{_PREFIX}{datetime.now(UTC):%Y%m%d-%H%M%S}.backup"
    user = pwd.getpwnam(USER)
    # Root may make the directory here, and the server's user has to write into it.
    directory.mkdir(mode=0o700, exist_ok=True)
    os.chown(directory, user.pw_uid, user.pw_gid)
    run_as_server(program, "backup", file, data_dir=layout.data_dir)
    for path in sorted(directory.glob(f"{_PREFIX}*.backup"))[:-_KEPT_BACKUPS]:
        path.unlink(missing_ok=True)
    return file


def _go_back(layout: Layout, old: Release, backup: Path | None, revision: str | None, say: Say) -> None:
    """Restore the old release, and the database if it was migrated. Failures are printed, not raised."""
    say("The new release does not answer; going back to the old one.")
    try:
        services.stop_server()
        point(layout.current, old.directory)
        services.write_units(layout, old.units())
        if backup is not None and revision_of(layout.data_dir) != revision:
            run_as_server(old.program, "restore", backup, "--force", data_dir=layout.data_dir)
        services.restart_server()
        services.wait_for_answer(layout, old.version)
    except InstallFailed as error:
        say(f"The old release does not answer either: {error}")
        if backup is not None:
            say(f"To restore the data as they were: systemctl stop vpnkeys && vpnkeys restore --force {backup}")
    else:
        say(f"vpnkeys {old.version} runs again, with the data as they were.")
