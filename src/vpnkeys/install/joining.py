"""Makes this host a node of a control plane: its services, and its place there."""

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.client import ApiError, Client
from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.portpool import parse_range
from vpnkeys.install import services
from vpnkeys.install.host import InstallFailed, Say, one_at_a_time, run_as_server
from vpnkeys.install.installing import (
    make_user,
    own_data_dir,
    require_nftables,
    settings_of,
    start_first,
    upgrade_to,
)
from vpnkeys.install.layout import Layout
from vpnkeys.install.neighbours import meet_neighbours
from vpnkeys.install.notes import NODE_TEMPLATE, hints_to_open, node_introduction
from vpnkeys.install.releases import Release, build, check_source, current_release
from vpnkeys.install.xrays import keep_xray
from vpnkeys.ops.address import address_fault
from vpnkeys.owner import as_owner
from vpnkeys.settings import SettingsError
from vpnkeys.store.files.backup import DATABASE
from vpnkeys.store.files.secrets import API_KEY_FILE

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the control plane has printed for a new node. `fingerprint` is None where an authority vouches for it."""

    url: str
    token: str
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Which node this host is, of which control plane, with which ports."""

    url: str
    node: str
    port_range: str

    @classmethod
    def of(cls, layout: Layout) -> "Joined | None":
        """Return what the agent has kept of its joining; None before it. Raises InstallFailed for a damaged file."""
        with as_owner(layout.data_dir):
            try:
                kept = json.loads(layout.node_file.read_bytes())
                return cls(str(kept["url"]), str(kept["node"]), str(kept["port_range"]))
            except FileNotFoundError:
                return None
            except (KeyError, TypeError, ValueError) as error:
                msg = f"{layout.node_file} is damaged: remove it, and join with a new token"
                raise InstallFailed(msg) from error


def install_node(  # noqa: PLR0913 - one for each option of the command
    layout: Layout, source: Path, xray: Path | None, invitation: Invitation, say: Say, *, without_nftables: bool = False
) -> None:
    """Make this host a node, or complete or upgrade the node that it is.

    The token is used once the release is made. What it gave is kept whatever fails later, so that a repeat needs no
    other. Raises SettingsError, Unavailable or InstallFailed.
    """
    with one_at_a_time():
        known, present = Joined.of(layout), current_release(layout)
        if known is None:
            _refuse_server(layout)
            _reach(invitation)
        elif known.url != invitation.url:
            raise InstallFailed(
                f"this host is node {known.node} of {known.url} already; nothing was changed. To give it to another "
                f"control plane: vpnkeys uninstall, and rm -rf {layout.data_dir}"
            )
        else:
            say(f"This host is node {known.node} of {known.url} already; no token is used.")
        check_source(source)
        if present is not None:
            settings_of(layout)
            upgrade_to(layout, present, source, xray, say)
            return
        if not without_nftables:
            require_nftables()
        _install_first(layout, source, xray, None if known else invitation, say)


def _install_first(layout: Layout, source: Path, xray: Path | None, invitation: Invitation | None, say: Say) -> None:
    settings = settings_of(layout)
    meet_neighbours(settings, say, has_api=False)
    keep_xray(layout, xray, say)
    with ExitStack() as undo:
        release = build(layout, source, say)
        undo.callback(shutil.rmtree, release.directory, ignore_errors=True)
        make_user(layout)
        own_data_dir(layout, settings, NODE_TEMPLATE)
        # Imports all of the agent, so that a missing library shows before the token is used.
        run_as_server(release.program, "agent", "--help", data_dir=layout.data_dir)
        joined = Joined.of(layout) if invitation is None else _join(layout, release, invitation, say)
        start_first(layout, release, undo, say)
        undo.pop_all()
    if joined is None:
        raise InstallFailed(f"{layout.node_file} is gone; run this again with a new token")
    for line in node_introduction(settings, release.version, joined.node, joined.url, address_fault(settings)):
        say(line)
    for line in hints_to_open((), parse_range(joined.port_range), lambda program: shutil.which(program) is not None):
        say(line)


def _refuse_server(layout: Layout) -> None:
    """Raise InstallFailed where a server is installed, or has left its data."""
    if current_release(layout) is not None or (layout.units / services.SERVER).exists():
        raise InstallFailed(
            "this host is a server already, and its own Xray is a node there: local. Nothing was changed. A node needs "
            f"another machine; or, without the keys of this one: vpnkeys uninstall, and rm -rf {layout.data_dir}"
        )
    with as_owner(layout.data_dir):
        if any((layout.data_dir / name).exists() for name in (DATABASE, API_KEY_FILE)):
            raise InstallFailed(
                f"{layout.data_dir} has the keys of a server that was here; nothing was changed. If nobody needs them "
                f"any more: rm -rf {layout.data_dir}"
            )


def _reach(invitation: Invitation) -> None:
    """Ask the control plane for a sign of life, before anything is changed. Raises SettingsError, Unavailable."""
    url, pin = invitation.url, invitation.fingerprint
    try:
        with Client(url, None, fingerprint=pin, timeout=_PATIENCE_S) as plane:
            plane.health()
    except ValueError as error:
        msg = f"{error}; give URL, --token and --fingerprint as `vpnkeys nodes add` has printed them"
        raise SettingsError(msg) from error
    except ApiError as error:
        if error.code == "untrusted_certificate":
            cure = "Take the line that `vpnkeys nodes add` prints now; if it is the same, another program is on the way"
            raise Unavailable(f"{url} is not the control plane: {error.detail}. Nothing was changed. {cure}") from error
        if error.status is None:
            cure = "Check the address, and that the control plane's firewall lets this host in"
            raise Unavailable(f"{url} is not reached from here: {error.detail} Nothing was changed. {cure}") from error
        raise Unavailable(f"{url} does not answer as a control plane does: {error}; nothing was changed") from error


def _join(layout: Layout, release: Release, invitation: Invitation, say: Say) -> Joined | None:
    say(f"Joining {invitation.url}.")
    pin = [] if invitation.fingerprint is None else ["--fingerprint", invitation.fingerprint]
    join = ("agent", "join", invitation.url, "--token", invitation.token, *pin)
    try:
        run_as_server(release.program, *join, data_dir=layout.data_dir)
    except InstallFailed as error:
        _, _, why = str(error).rpartition("vpnkeys agent join: ")
        raise InstallFailed(f"this host did not become a node: {why}. Nothing of it is left here") from error
    return Joined.of(layout)
