"""Installations: the first one and upgrades. A step that fails takes back all the steps before it."""

import pwd
import shutil
from contextlib import ExitStack
from pathlib import Path

from vpnkeys.files import write_atomically
from vpnkeys.install import services
from vpnkeys.install.domain import set_domain, wait_for_certificate
from vpnkeys.install.host import InstallFailed, Say, one_at_a_time, run, run_as_server
from vpnkeys.install.layout import Layout, point
from vpnkeys.install.neighbours import meet_neighbours
from vpnkeys.install.notes import ENV_TEMPLATE, firewall_hints, introduction
from vpnkeys.install.releases import Release, build, check_source, current_release, digest_of
from vpnkeys.install.upgrading import change, settle
from vpnkeys.install.xrays import keep_xray
from vpnkeys.ops.data_dir import certificate
from vpnkeys.owner import SERVER_USER, as_owner
from vpnkeys.settings import PREFIX, Settings, load_settings
from vpnkeys.store.files.secrets import API_KEY_FILE, load_api_key


def settings_of(layout: Layout) -> Settings:
    """Return the services' settings, with the operator's changes in `vpnkeys.env`. Raises SettingsError."""
    own = {"DATA_DIR": layout.data_dir, "XRAY_SUPERVISOR": "systemd", "XRAY_BIN": layout.current_xray}
    with as_owner(layout.data_dir):
        return load_settings({f"{PREFIX}{name}": str(value) for name, value in own.items()})


def install(  # noqa: PLR0913 - one for each option of the command
    layout: Layout, source: Path, xray: Path | None, say: Say, domain: str = "", *, without_nftables: bool = False
) -> None:
    """Install a source tree, or upgrade the present installation to it. Raises SettingsError or InstallFailed.

    An upgrade drops no connection of a customer. `xray` is the binary to copy; None: one is found or fetched. A
    `domain` is written into the settings. A host without nftables is refused at the first installation, unless
    `without_nftables`.
    """
    with one_at_a_time():
        refuse_node(layout)
        check_source(source)  # before the settings are changed
        is_new_domain = bool(domain) and set_domain(layout, domain)
        settings = settings_of(layout)
        present = current_release(layout)
        if present is None:
            if not without_nftables:
                require_nftables()
            _install_first(layout, settings, source, xray, say)
            return
        upgrade_to(layout, present, source, xray, say)
        if is_new_domain:
            services.restart_server(layout)
            wait_for_certificate(layout, settings.domain, say)
            say(f"The dashboard: {settings.base_url}/ui/")


def upgrade(layout: Layout, source: Path | None, say: Say) -> None:
    """Upgrade to a source tree, by default the one that the installation was made from. Raises as `install` does."""
    present = current_release(layout)
    source = source or Path(present.source if present else ".")
    if present is None or not services.is_node(layout):
        install(layout, source, None, say)
        return
    with one_at_a_time():
        settings_of(layout)
        upgrade_to(layout, present, source, None, say)


def refuse_node(layout: Layout) -> None:
    """Raise InstallFailed on a host that is a node."""
    if services.is_node(layout):
        raise InstallFailed(
            f"this host is a node of another server, as {layout.node_file} says; nothing was changed. `vpnkeys "
            "upgrade` brings it to a newer source tree. To make it a server of its own, without the keys that it has "
            f"now: vpnkeys uninstall, and rm -rf {layout.data_dir}"
        )


def upgrade_to(layout: Layout, present: Release, source: Path, xray: Path | None, say: Say) -> None:
    """Upgrade the present installation, of a server or a node, to a source tree. Raises InstallFailed."""
    check_source(source)
    make_user(layout)
    runs = present.runs(layout)
    if runs and present.digest == digest_of(source):
        keep_xray(layout, xray, say)
        settle(layout, present)
        services.start(layout)
        say(f"vpnkeys {present.version} is already installed from this source tree; there is nothing to do.")
        return
    keep_xray(layout, xray, say)
    with ExitStack() as undo:
        new = build(layout, source, say)
        undo.callback(shutil.rmtree, new.directory, ignore_errors=True)
        change(layout, present, new, say, old_runs=runs)
        undo.pop_all()
    services.start(layout)
    say(f"vpnkeys {new.version} runs ({new.directory.name}); before it was {present.version}.")


def _install_first(layout: Layout, settings: Settings, source: Path, xray: Path | None, say: Say) -> None:
    meet_neighbours(settings, say)
    keep_xray(layout, xray, say)  # first, because fetching may fail, and nothing was changed yet
    # Each step registers how to undo it, before it starts; `pop_all` at the end keeps everything.
    with ExitStack() as undo:
        release = build(layout, source, say)
        undo.callback(shutil.rmtree, release.directory, ignore_errors=True)
        make_user(layout)
        own_data_dir(layout, settings)
        # Imports all of the server, so that a missing library shows before anything is switched.
        run_as_server(release.program, "serve", "--help", data_dir=layout.data_dir)
        api_key = _make_api_key(settings, undo)
        start_first(layout, release, undo, say)
        undo.pop_all()
    has_certificate = bool(settings.domain) and wait_for_certificate(layout, settings.domain, say)
    with as_owner(layout.data_dir):
        fingerprint = "" if has_certificate else certificate(settings).fingerprint()
    for line in introduction(settings, release.version, fingerprint, api_key):
        say(line)
    for line in firewall_hints(settings, lambda program: shutil.which(program) is not None):
        say(line)


def start_first(layout: Layout, release: Release, undo: ExitStack, say: Say) -> None:
    """Put the first release in place, and wait until it runs. Raises InstallFailed; `undo` takes it back."""
    undo.callback(layout.current.unlink, missing_ok=True)
    point(layout.current, release.directory)
    undo.callback(layout.wrapper.unlink, missing_ok=True)
    undo.callback(services.remove_units, layout)
    settle(layout, release)
    say("Starting the services.")
    services.start(layout)
    services.wait_for_answer(layout, release.version)


def require_nftables() -> None:
    """Raise InstallFailed where the program nft is missing."""
    if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        raise InstallFailed(
            "nftables is missing. Without it private networks are protected less, strangers can keep customers out by "
            "floods of connections, calls and games may fail, and speed limits do not work. Install it (apt-get "
            "install nftables) and try again; or go on without it: ./run --install --without-nftables"
        )


def make_user(layout: Layout) -> None:
    """Create the server's system user, unless it exists."""
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        home = ("--home-dir", layout.data_dir, "--no-create-home")
        run("useradd", "--system", "--user-group", *home, "--shell", "/usr/sbin/nologin", SERVER_USER)


def own_data_dir(layout: Layout, settings: Settings, template: str = ENV_TEMPLATE) -> None:
    """Make the data directory with its settings file. What root has put there is given to the server's user."""
    layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if layout.data_dir.stat().st_uid != pwd.getpwnam(SERVER_USER).pw_uid:
        run("chown", "--recursive", "--no-dereference", f"{SERVER_USER}:{SERVER_USER}", settings.data_dir)
    # From here on its user may put links there, so root changes nothing there as root.
    with as_owner(layout.data_dir):
        layout.data_dir.chmod(0o700)
        if not layout.env_file.exists():
            write_atomically(layout.env_file, template.encode())
        layout.env_file.chmod(0o600)


def _make_api_key(settings: Settings, undo: ExitStack) -> str | None:
    """Make an API key and return it; None when there is one. Made here, it is never printed into the journal."""
    file = settings.data_dir / API_KEY_FILE
    with as_owner(file):
        if settings.api_key is not None or file.exists():
            return None
        undo.callback(file.unlink, missing_ok=True)
        return load_api_key(settings.data_dir, None)[1]
