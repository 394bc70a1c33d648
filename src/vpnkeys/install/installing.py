"""Making an installation, or bringing one up to date: all of it, or nothing that was not there before."""

import os
import pwd
import shutil
from contextlib import ExitStack
from pathlib import Path

from vpnkeys.files import write_atomically
from vpnkeys.install import services
from vpnkeys.install.host import USER, Say, alone, run, run_as_server
from vpnkeys.install.layout import Layout, point, write_wrapper
from vpnkeys.install.notes import ENV_TEMPLATE, firewall_hints, introduction
from vpnkeys.install.releases import Release, build, current_release, digest_of
from vpnkeys.install.upgrading import change
from vpnkeys.install.xrays import keep_xray
from vpnkeys.ops.data_dir import certificate
from vpnkeys.settings import PREFIX, Settings, load_settings
from vpnkeys.store.files.secrets import API_KEY_FILE, load_api_key


def settings_of(layout: Layout) -> Settings:
    """The services' settings, as the operator has them in `vpnkeys.env`. Raises SettingsError."""
    own = {"DATA_DIR": layout.data_dir, "XRAY_SUPERVISOR": "systemd", "XRAY_BIN": layout.current_xray}
    return load_settings({f"{PREFIX}{name}": str(value) for name, value in own.items()})


def install(layout: Layout, source: Path, xray: Path | None, say: Say) -> None:
    """Make an installation of a source tree, or bring the present one to it. Raises SettingsError, InstallFailed.

    No connection of a customer drops when there is an installation already.
    """
    with alone():
        settings = settings_of(layout)
        present = current_release(layout)
        if present is None:
            _first(layout, settings, source, xray, say)
        else:
            _bring_to(layout, present, source, xray, say)


def upgrade(layout: Layout, source: Path | None, say: Say) -> None:
    """Bring the installation to a source tree, by default the one that it was made of. Raises as `install` does."""
    present = current_release(layout)
    install(layout, source or Path(present.source if present else "."), None, say)


def _bring_to(layout: Layout, present: Release, source: Path, xray: Path | None, say: Say) -> None:
    make_user(layout)
    runs = present.runs(layout)
    if runs and present.digest == digest_of(source):
        keep_xray(layout, xray, say)
        write_wrapper(layout.wrapper)
        services.write_units(layout, present.units())
        services.start(layout)
        say(f"vpnkeys {present.version} is installed, of this very tree: there is nothing to do.")
        return
    keep_xray(layout, xray, say)
    with ExitStack() as undo:
        new = build(layout, source, say)
        undo.callback(shutil.rmtree, new.directory, ignore_errors=True)
        change(layout, present, new, say, old_runs=runs)
        undo.pop_all()
    write_wrapper(layout.wrapper)
    services.start(layout)
    say(f"vpnkeys {new.version} serves ({new.directory.name}); before it was {present.version}.")


def _first(layout: Layout, settings: Settings, source: Path, xray: Path | None, say: Say) -> None:
    keep_xray(layout, xray, say)
    with ExitStack() as undo:
        release = build(layout, source, say)
        undo.callback(shutil.rmtree, release.directory, ignore_errors=True)
        make_user(layout)
        own_data_dir(layout, settings)
        run_as_server(release.program, "serve", "--help", data_dir=layout.data_dir)
        api_key = _make_api_key(settings, undo)
        undo.callback(layout.current.unlink, missing_ok=True)
        point(layout.current, release.directory)
        undo.callback(layout.wrapper.unlink, missing_ok=True)
        write_wrapper(layout.wrapper)
        undo.callback(services.remove_units, layout)
        services.write_units(layout, release.units())
        say("Starting the services.")
        services.start(layout)
        services.wait_for_answer(layout, release.version)
        undo.pop_all()
    fingerprint = certificate(settings).fingerprint()
    for line in introduction(settings, release.version, fingerprint, api_key):
        say(line)
    for line in firewall_hints(settings, lambda program: shutil.which(program) is not None):
        say(line)
    if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        say("nftables is missing: calls and games get no full cone, and keys no speed limits. apt-get install nftables")


def make_user(layout: Layout) -> None:
    """The system's user that the server runs as, unless there is one."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        home = ("--home-dir", layout.data_dir, "--no-create-home")
        run("useradd", "--system", "--user-group", *home, "--shell", "/usr/sbin/nologin", USER)


def own_data_dir(layout: Layout, settings: Settings) -> None:
    """The data directory for the server's user alone, with a settings file, and with whatever is in it already."""
    layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.data_dir.chmod(0o700)
    if not layout.env_file.exists():
        write_atomically(layout.env_file, ENV_TEMPLATE.encode())
    layout.env_file.chmod(0o600)
    run("chown", "--recursive", "--no-dereference", f"{USER}:{USER}", settings.data_dir)


def _make_api_key(settings: Settings, undo: ExitStack) -> str | None:
    """An API key of our making, so that the server never prints one into the journal; None when there is one."""
    file = settings.data_dir / API_KEY_FILE
    if settings.api_key is not None or file.exists():
        return None
    undo.callback(file.unlink, missing_ok=True)
    _, made = load_api_key(settings.data_dir, None)
    user = pwd.getpwnam(USER)
    os.chown(file, user.pw_uid, user.pw_gid)
    return made
