"""Going back: the release before the present one serves again, with the data of then where it needs them."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.install import services
from vpnkeys.install.host import InstallFailed, Say, one_at_a_time, run_as_server
from vpnkeys.install.layout import Layout
from vpnkeys.install.releases import Release, current_release, prune
from vpnkeys.install.upgrading import Before, Switch, back_up, backups_of, prove, revision_of, servers_room, switch
from vpnkeys.ops.losses import Losses, losses
from vpnkeys.owner import as_owner
from vpnkeys.store.files.backup import unpack

_PRINT_HEAD = "from vpnkeys.store.sql.migrate import HEAD; print(HEAD)"
"""Run by another release, so that these names must stay."""


@dataclass(frozen=True, slots=True)
class Reversion:
    """What is about to be put back: a release, and the data of then, if it needs them, with what that loses."""

    release: Release
    data: Path | None
    losses: Losses | None


def go_back(layout: Layout, say: Say, approve: Callable[[Reversion], None]) -> None:
    """Let the release before the present one serve again. Raises InstallFailed; then the present one goes on.

    It is tested first, as in an upgrade: with the present data, which stay where it can use them, else with those that
    the upgrade kept. `approve` raises an exception unless that is wanted. No connection of a customer drops.
    """
    with one_at_a_time():
        present = current_release(layout)
        if present is None:
            raise InstallFailed("there is no installation; make one: ./run --install")
        wanted = _reversion(layout, present, say)
        approve(wanted)
        backup = _put_back(layout, present, wanted, say)
    say(f"vpnkeys {wanted.release.version} runs ({wanted.release.directory.name}); before it was {present.version}.")
    if wanted.data is not None and backup is not None:
        say(f"The data of before are in {backup}: after another upgrade, vpnkeys restore --force {backup}")


def _reversion(layout: Layout, present: Release, say: Say) -> Reversion:
    """Return what would be put back, once it was tested. Raises InstallFailed; nothing was changed."""
    before = Before.of(present)
    earlier = Release.at(layout.releases / before.release) if before else None
    if before is None or earlier is None:
        raise InstallFailed(
            f"there is no release before {present.directory.name} to go back to; nothing was changed. To install "
            "another version: vpnkeys upgrade DIRECTORY, with its source tree"
        )
    say(f"Testing release {earlier.directory.name} with the present settings and a copy of the present data.")
    if revision_of(layout.data_dir) is None:
        _require_same_tables(layout, present, earlier)
        _require_fit(layout, earlier, None)
        return Reversion(earlier, None, None)
    with servers_room() as room:
        now = room / "now.backup"
        run_as_server(present.program, "backup", now, data_dir=layout.data_dir)
        try:
            prove(layout, earlier, now)
        except InstallFailed as error:
            kept = _kept_data(layout, before, error)
        else:
            return Reversion(earlier, None, None)
        say(f"It does not work with them. Testing it with those of before the upgrade, {kept}.")
        _require_fit(layout, earlier, kept)
        with as_owner(layout.data_dir):
            return Reversion(earlier, kept, losses(unpack(kept.read_bytes()), unpack(now.read_bytes())))


def _kept_data(layout: Layout, before: Before, unfit: InstallFailed) -> Path:
    """Return the backup that the upgrade made. Raises InstallFailed with why it is needed when it is gone."""
    file = backups_of(layout) / (before.backup or "")
    with as_owner(layout.data_dir):
        if file.is_file():
            return file
    raise InstallFailed(
        f"release {before.release} does not work with the present data, and the backup of before the upgrade is not "
        f"in {backups_of(layout)} any more; nothing was changed. {unfit}"
    )


def _require_fit(layout: Layout, earlier: Release, data: Path | None) -> None:
    try:
        prove(layout, earlier, data)
    except InstallFailed as error:
        raise InstallFailed(
            f"release {earlier.directory.name} does not work here any more; nothing was changed. {error}"
        ) from error


def _require_same_tables(layout: Layout, present: Release, earlier: Release) -> None:
    """Raise InstallFailed unless both releases use the same tables: of a database elsewhere no backup is made."""
    heads = {run_as_server(one.python, "-I", "-c", _PRINT_HEAD, data_dir=layout.data_dir) for one in (present, earlier)}
    if len(heads) > 1:
        raise InstallFailed(
            f"release {earlier.directory.name} cannot use the present database, and no backup of this one is made by "
            "an upgrade; nothing was changed. Go on with a dump of before: install the earlier version on an empty "
            "database, and vpnkeys database load"
        )


def _put_back(layout: Layout, present: Release, wanted: Reversion, say: Say) -> Path | None:
    """Switch to the earlier release, and return the backup of the present data, if any."""
    say("Switching to the earlier release; only the server is restarted, Xray goes on.")
    with ExitStack() as after:
        if wanted.data is not None:
            # Whatever fails from here on, it runs again. It stops first, so that the backup has every key.
            after.callback(services.start, layout)
            services.stop_server(layout)
        backup = back_up(layout, present.program)
        switch(layout, Switch(present, wanted.release, backup, wanted.data), say)
    services.start(layout)
    # The present release stays until the next upgrade: this very program may be part of it.
    prune(layout, (wanted.release, present))
    return backup
