"""Upgrades: the new release is tested on a copy of the data, then gets the data; a failure restores the old one."""

import json
import os
import pwd
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vpnkeys.files import write_atomically
from vpnkeys.install import services
from vpnkeys.install.host import InstallFailed, Say, run_as_server
from vpnkeys.install.layout import Layout, point, write_wrapper
from vpnkeys.install.releases import Release, all_releases, prune
from vpnkeys.ops.backup import BACKUPS, free_name, stamp
from vpnkeys.owner import SERVER_USER, as_owner
from vpnkeys.store.sql.faults import MOVED

_KEPT_BACKUPS = 3
_PREFIX = "before-upgrade-"
"""Not the prefix of daily backups, whose removal of old ones would remove these too."""
_BEFORE = "before.json"
_READ_SETTINGS = """
import sys
from vpnkeys.settings import SettingsError, load_settings
try:
    load_settings()
except SettingsError as error:
    sys.exit(str(error))
"""
"""Run by another release, older or newer, so that these names must stay."""


@dataclass(frozen=True, slots=True)
class Before:
    """What was in use before a release: an earlier one, and the backup of its data. None: there was no database."""

    release: str
    backup: str | None

    @classmethod
    def of(cls, release: Release) -> Self | None:
        """Return what was in use before this release; None for the first one."""
        try:
            return cls(**json.loads((release.directory / _BEFORE).read_bytes()))
        except (OSError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Switch:
    """From one release to another: `backup` has the present data, `earlier_data` those that the new one needs."""

    old: Release
    new: Release
    backup: Path | None
    earlier_data: Path | None = None


def change(layout: Layout, old: Release, new: Release, say: Say, *, old_runs: bool) -> None:
    """Replace the old release by the new one; Xray is not touched. `old_runs` says that the old one still starts.

    Raises InstallFailed; then the old one runs as before, with the data as they were.
    """
    # The old code knows the data best; the new one makes the backup only where the old one's Python is gone.
    backup = back_up(layout, (old if old_runs else new).program)
    if backup is None:
        say("No backup is made: there is no database here. `vpnkeys database dump FILE` saves one of PostgreSQL.")
    say("Testing the new release with the present settings and a copy of the present data.")
    try:
        prove(layout, new, backup)
    except InstallFailed as error:
        raise InstallFailed(f"the new release does not work here; nothing was changed. {error}") from error
    # In the release's own directory, so that it goes with it: whatever happens, no other release's way back is lost.
    before = {"release": old.directory.name, "backup": backup and backup.name}
    write_atomically(new.directory / _BEFORE, json.dumps(before).encode() + b"\n")
    say("Switching to the new release; only the server is restarted, Xray goes on.")
    switch(layout, Switch(old, new, backup), say)
    prune(layout, (old, new))


def switch(layout: Layout, step: Switch, say: Say) -> None:
    """Let the new release serve in place of the old one.

    Raises InstallFailed; then the old one runs again, with the data as they were.
    """
    revision = revision_of(layout.data_dir)
    with ExitStack() as undo:
        # Registered before the first step, so that Ctrl-C during any of them goes back too.
        undo.callback(_switch_back, layout, step, revision, say)
        if step.earlier_data is not None:
            # Before the link: a release starts with older data too, but none with newer ones.
            services.stop_server(layout)
            run_as_server(step.new.program, "restore", step.earlier_data, "--force", data_dir=layout.data_dir)
        settle(layout, step.new)
        point(layout.current, step.new.directory)
        services.restart_server(layout)
        services.wait_for_answer(layout, step.new.version)
        undo.pop_all()


def settle(layout: Layout, release: Release) -> None:
    """Write the units and the command of a release."""
    services.write_units(layout, release.units())
    write_wrapper(layout.wrapper, release.wrapper())


def prove(layout: Layout, release: Release, backup: Path | None) -> None:
    """Test as the server's user whether a release works here. Raises InstallFailed; nothing was changed.

    `backup` is restored into a temporary directory, which migrates it, so that a migration cannot fail later.
    """
    what = "agent" if services.is_node(layout) else "serve"
    run_as_server(release.program, what, "--help", data_dir=layout.data_dir)
    run_as_server(release.python, "-I", "-c", _READ_SETTINGS, data_dir=layout.data_dir)
    run_as_server(release.python, "-I", "-m", "vpnkeys.xray.binary", layout.current_xray, data_dir=layout.data_dir)
    if backup is not None:
        with servers_room() as room:
            run_as_server(release.program, "restore", backup, data_dir=room)


@contextmanager
def servers_room() -> Iterator[Path]:
    """Yield a temporary directory of the server's user."""
    with tempfile.TemporaryDirectory(prefix="vpnkeys-proof-") as room:
        user = pwd.getpwnam(SERVER_USER)
        os.chown(room, user.pw_uid, user.pw_gid)
        yield Path(room)


def revision_of(data_dir: Path) -> str | None:
    """Return the version of the database's schema; None when there is no database, or its data are elsewhere now."""
    database = data_dir / "vpnkeys.db"
    with as_owner(database):
        if not database.is_file():
            return None
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10.0)) as connection:
            try:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except sqlite3.DatabaseError:
                return None
    # After `vpnkeys database move` this is no version, and the file is not the server's any more.
    return None if row is None or str(row[0]).startswith(MOVED) else str(row[0])


def backups_of(layout: Layout) -> Path:
    """Return the directory of all backups."""
    return layout.data_dir / BACKUPS


def back_up(layout: Layout, program: Path) -> Path | None:
    """Make a backup with the release that wrote the data, and return its file; None when there are no data yet."""
    if revision_of(layout.data_dir) is None:
        return None
    directory = backups_of(layout)
    # Upgrades that fail make backups too, which must not push out the one that going back needs.
    noted = {before.backup for release in all_releases(layout) if (before := Before.of(release))}
    with as_owner(layout.data_dir):
        directory.mkdir(mode=0o700, exist_ok=True)
        name = free_name(directory, f"{_PREFIX}{stamp()}").name
    file = directory / f"{name}.backup"
    run_as_server(program, "backup", file, data_dir=layout.data_dir)
    with as_owner(layout.data_dir):
        for path in sorted(directory.glob(f"{_PREFIX}*.backup"))[:-_KEPT_BACKUPS]:
            if path.name not in noted:
                path.unlink(missing_ok=True)
    return file


def _switch_back(layout: Layout, step: Switch, revision: str | None, say: Say) -> None:
    """Restore the old release, and the data unless they are those of before. Failures are printed, not raised."""
    old, goes_back = step.old, step.earlier_data is not None
    say(f"{step.new.directory.name} does not answer; going back to {old.directory.name}.")

    def restore() -> None:
        if step.backup is not None and (goes_back or revision_of(layout.data_dir) != revision):
            run_as_server(old.program, "restore", step.backup, "--force", data_dir=layout.data_dir)

    def link() -> None:
        point(layout.current, old.directory)

    try:
        services.stop_server(layout)
        # Wherever this is interrupted, the newer of both releases is linked while the data may be either one's.
        for each in (link, restore) if goes_back else (restore, link):
            each()
        settle(layout, old)
        services.restart_server(layout)
        services.wait_for_answer(layout, old.version)
    except InstallFailed as error:
        say(f"{old.directory.name} does not answer either: {error}")
        if step.backup is not None:
            say(f"To restore the data as they were: systemctl stop vpnkeys && vpnkeys restore --force {step.backup}")
    else:
        say(f"vpnkeys {old.version} runs again, with the data as they were.")
