"""Runs the agent of a node in the foreground, and lets this machine become a node."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from vpnkeys import __version__
from vpnkeys.agent.agent import Agent
from vpnkeys.agent.membership import DESIRED_FILE, MEMBERSHIP_FILE, DesiredFile, Membership, load_membership
from vpnkeys.bootstrap import build
from vpnkeys.cli.commands.serve import answers
from vpnkeys.cli.starting import say, starting
from vpnkeys.client import ApiError
from vpnkeys.client.agent import ControlPlane
from vpnkeys.domain.portpool import parse_range
from vpnkeys.domain.reality import KeyPair
from vpnkeys.ops.data_dir import key_pair, take
from vpnkeys.ops.named import check_named
from vpnkeys.owner import NotOurs, leave_root
from vpnkeys.server.logs import logging_as_set
from vpnkeys.server.notify import notifier_of
from vpnkeys.settings import ENVIRONMENT, Settings, SettingsError, load_settings, set_data_dir
from vpnkeys.store.files.secrets import save_key_pair
from vpnkeys.store.sql.opening import backend_of, sqlite_file
from vpnkeys.wire.agents import JoinRequest
from vpnkeys.xray.process.binary import obtain

_WHO = "vpnkeys agent"
_REFUSED, _USAGE, _UNAVAILABLE = 1, 2, 3

app = typer.Typer(name="agent", invoke_without_command=True)


@app.callback()
def run(context: typer.Context) -> None:
    """Run the node that this machine is, in the foreground, until SIGTERM or Ctrl-C; `agent join` makes it one.

    Its keys are those that the control plane wants it to have. It listens on no port but those of keys, and goes on
    without the control plane as it was last wanted.

    Exit codes: 0 ended on request; 1 it cannot start; 2 wrong command line or settings.
    """
    if context.invoked_subcommand is not None:
        return
    with starting(_WHO):
        settings = _settings()
    with logging_as_set(settings):
        _run(settings)


@app.command("join")
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="The control plane, https://host:port.")],
    *,
    token: Annotated[str, typer.Option("--token", help="The token that `vpnkeys nodes add` has printed.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Trust the certificate with this SHA-256 and no other.")
    ] = "",
) -> None:
    """Make this machine a node: once for each token. Then `vpnkeys agent` runs it.

    Exit codes: 0 done; 1 refused; 2 wrong command line or settings; 3 the control plane does not answer.
    """
    try:
        settings = _settings()
        _refuse_other_use(settings)
        with take(settings.data_dir):
            node = _join(settings, url, token, fingerprint or None)
            say(f"This machine is node {node} of {url} now. Start it: vpnkeys agent")
    except (SettingsError, NotOurs, OSError, ValueError) as error:
        _end(_USAGE, f"vpnkeys agent join: {error}")
    except ApiError as error:
        is_silent = error.status is None
        _end(_UNAVAILABLE if is_silent else _REFUSED, f"vpnkeys agent join: {_advice(error)}")


def _settings() -> Settings:
    os.umask(0o077)  # SQLite creates its files with this mask
    leave_root(set_data_dir())
    return load_settings(ENVIRONMENT)


def _run(settings: Settings) -> None:
    ended = Event()
    with starting(_WHO):
        membership, plane = _membership(settings)
        _require_own_database(settings)
        check_named(settings, runs_xray=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _setting(ended))
        own = settings.model_copy(update={"port_range": parse_range(membership.port_range)})
        server = build(own, obtain(settings.xray_bin, say))
        desired = DesiredFile(settings.data_dir / DESIRED_FILE)
        keep = partial(_keep_tokens, membership, settings.data_dir)
        agent = Agent(server, plane, desired, membership.tokens, keep)
        # New keys get no name that the control plane does not know to be ready, and the next report may be far off.
        server.node.prober.on_ready = agent.reporting.wake
        agent.start()
    notifier = notifier_of(ENVIRONMENT)
    try:
        say(f"vpnkeys {__version__} runs node {membership.node} of {membership.url}")
        # An installation looks in this text for the version that runs.
        well = f"Node {membership.node}, vpnkeys {__version__}"
        is_alive = partial(answers, server.reconciler.store)
        notifier.accompany_until(ended, is_alive, well, f"Node {membership.node}, but its database does not answer")
    finally:
        notifier.tell("STOPPING=1", "STATUS=Ending in order")
        agent.stop()


def _keep_tokens(membership: Membership, data_dir: Path, tokens: tuple[str, ...]) -> None:
    membership.with_tokens(tokens).save(data_dir)


def _membership(settings: Settings) -> tuple[Membership, ControlPlane]:
    """Return which node this is, and its control plane. Raises SettingsError."""
    try:
        found = load_membership(settings.data_dir)
        if found is not None:
            return found, ControlPlane(found.url, found.token, found.fingerprint)
    except (OSError, ValueError) as error:
        raise SettingsError(str(error)) from error
    msg = f"{settings.data_dir} belongs to no node; `vpnkeys agent join` makes it one"
    raise SettingsError(msg)


def _setting(ended: Event) -> Callable[[int, object], None]:
    return lambda _signal, _frame: ended.set()


def _join(settings: Settings, url: str, token: str, fingerprint: str | None) -> str:
    plane, pair = ControlPlane(url, token, fingerprint), key_pair(settings)
    try:
        joined = plane.join(
            JoinRequest(
                token=plane.token,
                public_key=pair.public_key,
                private_key=pair.private_key,
                address=settings.server_address,
                port_range=str(settings.port_range),
            )
        )
    finally:
        plane.close()
    if joined.private_key:  # of the machine whose place this one takes; before it is a node, so that none lacks it
        save_key_pair(settings.data_dir, KeyPair.of_private(joined.private_key))
    Membership(url, joined.node, joined.token, fingerprint, joined.port_range).save(settings.data_dir)
    return joined.node


def _refuse_other_use(settings: Settings) -> None:
    """Raise SettingsError for a data directory whose keys would be taken for those of a node."""
    _require_own_database(settings)
    database = sqlite_file(settings.database_url)
    for file, what in ((settings.data_dir / MEMBERSHIP_FILE, "a node"), (database, "a server")):
        if file is not None and Path(file).exists():
            msg = f"{settings.data_dir} belongs to {what} already; give the new node a VPNKEYS_DATA_DIR of its own"
            raise SettingsError(msg)


def _require_own_database(settings: Settings) -> None:
    if backend_of(settings.database_url) != "sqlite":
        msg = "VPNKEYS_DATABASE_URL: a node keeps its own state in SQLite; leave this out"
        raise SettingsError(msg)


def _advice(error: ApiError) -> str:
    if error.code == "unauthorized":
        return "the token is unknown, was used before or has expired; `vpnkeys nodes add` makes another"
    return error.detail


def _end(code: int, message: str) -> None:
    say(message)
    raise SystemExit(code)
