"""The Xray programs of an installation: a copy for each version, a link to the one in use, and the change of it."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from vpnkeys.client import ApiError, Client
from vpnkeys.domain.errors import Unavailable
from vpnkeys.files import sha256_of
from vpnkeys.install.host import InstallFailed, Say, one_at_a_time
from vpnkeys.install.layout import Layout, led_to, point
from vpnkeys.install.trial import Pair, carries, lets_in_old_clients
from vpnkeys.settings import Settings, admin_socket
from vpnkeys.xray.process.binary import XrayUnfit, accept, obtain, version_of
from vpnkeys.xray.process.tried import XRAY_VERSION, is_tried, tried_versions

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:-[0-9]+)?")
_RESTART_TIMEOUT_S = 90.0
_CLIENTS_WAIT_S = 45.0
"""After a restart REALITY probes its targets for up to five seconds, and one round of tests may fail."""
_LOOK_EVERY_S = 0.2


class HostOffline(Unavailable):
    """No REALITY target can be reached, so that no Xray can be tested."""

    code = "host_offline"


def keep_xray(layout: Layout, given: Path | None, say: Say) -> None:
    """Keep the present Xray if it is supported; else put the given one, or one that is found or fetched, into use.

    Raises InstallFailed when none is found.
    """
    if led_to(layout.current_xray.parent) is not None:
        try:
            obtain(layout.current_xray, say)
        except XrayUnfit as error:
            say(f"The present Xray does not work with this version of vpnkeys and is replaced: {error}")
        else:
            return
    point(layout.xrays / "current", copy_xray(layout, _obtained(given, say)))


def upgrade_xray(layout: Layout, settings: Settings, wanted: str, say: Say, *, force: bool = False) -> bool:
    """Change to another Xray, and return whether it differs from the present one.

    `wanted` is a file or a version; "" means the version this vpnkeys was made with. A version that was not tried is
    refused unless `force`. The new Xray is tested on loopback first; when clients cannot connect with it, the old one
    comes back. Customers' connections end once, at the restart. Raises InstallFailed, or Unavailable when the server
    does not answer or no test is possible now; then the old one is in use.
    """
    with one_at_a_time():
        old = led_to(layout.xrays / "current")
        if old is None:
            raise InstallFailed("there is no installation; make one: ./run --install")
        if layout.node_file.exists():
            raise InstallFailed(
                "this host is a node, whose Xray is changed only where vpnkeys cannot work with it any more; nothing "
                "was changed. `vpnkeys upgrade` brings the node to a newer source tree"
            )
        program, version = _wanted(layout, wanted, say)
        if not force and not is_tried(version):
            raise InstallFailed(
                f"Xray {version} was not tried with this version of vpnkeys, only {tried_versions()} were; nothing was "
                "changed. --force uses it all the same, if clients get in when it is tested here"
            )
        new = copy_xray(layout, (program, version))
        if new == old:
            return False
        try:
            _try(new / "xray", old / "xray", settings, say)
            accept(new / "xray")
            _switch(layout, settings, new, old, say)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _prune(layout, {new, old})
        return True


def copy_xray(layout: Layout, obtained: tuple[Path, str]) -> Path:
    """Copy an Xray into the installation, unless the same program is there, and return its directory."""
    program, version = obtained
    for directory in _names(layout.xrays, version):
        if not (directory / "xray").is_file():
            break
        if sha256_of(directory / "xray") == sha256_of(program):
            return directory
    directory.mkdir(parents=True, exist_ok=True)
    # Another name until the copy is complete; renaming also works while the old file is running, writing would not.
    fresh = directory / ".xray.new"
    shutil.copyfile(program, fresh)
    fresh.chmod(0o755)
    fresh.replace(directory / "xray")
    return directory


def _names(xrays: Path, version: str) -> Iterator[Path]:
    """Yield directory names for a version, more than one because different programs may report the same version."""
    yield xrays / version
    yield from (xrays / f"{version}-{number}" for number in range(2, 1000))


def _obtained(given: Path | None, say: Say) -> tuple[Path, str]:
    try:
        found = obtain(given, say)
    except XrayUnfit as error:
        raise InstallFailed(str(error)) from error
    return found.path, found.version


def _wanted(layout: Layout, wanted: str, say: Say) -> tuple[Path, str]:
    path = Path(wanted).absolute()
    if wanted and not path.is_file() and _VERSION.fullmatch(wanted) is None:
        msg = f"{wanted} is neither a file nor a version such as {XRAY_VERSION}; nothing was changed"
        raise InstallFailed(msg)
    if wanted and path.is_file():
        try:
            return path, version_of(path, say)
        except XrayUnfit as error:
            raise InstallFailed(str(error)) from error
    kept = layout.xrays / wanted / "xray"
    if wanted and kept.is_file():
        return _obtained(kept, say)
    program, version = _obtained(None, say)
    if wanted and wanted != version:
        raise InstallFailed(
            f"{wanted} is not a file, and only version {version} of Xray can be found or fetched here; for another, "
            "copy its binary to this host and give its path"
        )
    return program, version


def _try(new: Path, old: Path, settings: Settings, say: Say) -> None:
    """Test the new Xray with the old one as client, as customers do, and with itself, as the server's probes do."""
    say("Testing the new Xray on loopback, beside the one in use.")
    if all(carries(Pair(new, client), settings) for client in (old, new)):
        if lets_in_old_clients(new, settings) or not lets_in_old_clients(old, settings):
            return
        raise InstallFailed(
            "the new Xray shuts out clients that the old one lets in, such as sing-box and mihomo: it wants a newer "
            "version of clients, or the key exchange X25519MLKEM768; nothing was changed"
        )
    if carries(Pair(old, old), settings):
        raise InstallFailed("clients cannot connect through the new Xray, but can through the old; nothing was changed")
    names = ", ".join(settings.reality_server_names)
    raise HostOffline(
        f"no REALITY target answers here ({settings.reality_target or names}), so no Xray can be tested, not even the "
        "present one; nothing was changed. Check that this host is online, then try again"
    )


def _switch(layout: Layout, settings: Settings, new: Path, old: Path, say: Say) -> None:
    with Client.local(admin_socket(settings.data_dir), timeout=_RESTART_TIMEOUT_S) as server:
        names = _ready_names(server)
        try:
            point(layout.xrays / "current", new)
            say("Restarting Xray; customers' connections end once and come back.")
            server.system.xray_sync_config(force=True)
            _wait_for_clients(server, names)
        except (ApiError, InstallFailed) as error:
            say("The new Xray does not work; going back to the old one.")
            point(layout.xrays / "current", old)
            _go_back(server, names)
            raise InstallFailed(f"the new Xray did not work ({error}); the old one runs again") from error
        except BaseException:  # Ctrl-C: an Xray that was not tested to the end must not stay in use
            point(layout.xrays / "current", old)
            raise


def _go_back(server: Client, names: int) -> None:
    try:
        server.system.xray_sync_config(force=True)
        _wait_for_clients(server, names)
    except (ApiError, InstallFailed) as error:
        msg = f"the new Xray did not work, and the old one does not yet ({error}); see journalctl -u vpnkeys-xray"
        raise InstallFailed(msg) from error


def _ready_names(server: Client) -> int:
    try:
        return server.health().server_names_ready or 0
    except ApiError as error:
        msg = f"the server does not answer ({error}), and has to run for this: systemctl start vpnkeys"
        raise Unavailable(msg) from error


def _wait_for_clients(server: Client, names: int) -> None:
    deadline = time.monotonic() + _CLIENTS_WAIT_S
    while time.monotonic() < deadline:
        health = server.health()
        # One name is enough: targets of the others may have failed before the change too.
        if health.services.get("xray") == "running" and (health.server_names_ready or 0) >= min(names, 1):
            return
        time.sleep(_LOOK_EVERY_S)
    raise InstallFailed(f"no client can connect within {_CLIENTS_WAIT_S:.0f} s")


def _prune(layout: Layout, keep: set[Path]) -> None:
    for directory in layout.xrays.iterdir():
        if directory.is_dir() and not directory.is_symlink() and directory not in keep:
            shutil.rmtree(directory, ignore_errors=True)
