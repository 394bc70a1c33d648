"""`vpnkeys serve`: runs the server in the foreground."""

import gc
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import Annotated

import typer

from vpnkeys import __version__
from vpnkeys.agent.membership import MEMBERSHIP_FILE
from vpnkeys.api.app import create_app
from vpnkeys.api.services import Services
from vpnkeys.bootstrap import ControlPlane, Server, build, build_plane
from vpnkeys.cli.domain import Domain
from vpnkeys.cli.starting import say, starting
from vpnkeys.domain.errors import StoreUnavailable, Unavailable
from vpnkeys.domain.forms.vless import host_in_url
from vpnkeys.domain.nodes import LOCAL, HostState
from vpnkeys.interfaces import Store
from vpnkeys.ops.address import address_fault
from vpnkeys.ops.named import check_certificate, check_named
from vpnkeys.owner import leave_root
from vpnkeys.server.beside import Beside
from vpnkeys.server.logs import logging_as_set
from vpnkeys.server.notify import notifier_of
from vpnkeys.server.serving import public_sockets, serve_until_asked
from vpnkeys.service.audit import AuditLog
from vpnkeys.service.backups import BackupService
from vpnkeys.service.change.doors import DoorService
from vpnkeys.service.nodes.admin import NodeAdmin
from vpnkeys.service.nodes.fleet import Fleet
from vpnkeys.service.nodes.moving import Mover
from vpnkeys.service.nodes.nodes import NodeService
from vpnkeys.service.nodes.refusals import Refusals
from vpnkeys.service.nodes.reports import ReportService
from vpnkeys.settings import (
    ENVIRONMENT,
    PREFIX,
    Settings,
    SettingsError,
    admin_socket,
    load_settings,
    set_data_dir,
)
from vpnkeys.xray.process.binary import obtain

_WHO = "vpnkeys"


def serve(
    start_empty: Annotated[
        bool, typer.Option("--start-empty", help="make a lost database, key pair or API key anew")
    ] = False,
    domain: Domain = None,
    no_node: Annotated[
        bool, typer.Option("--no-node", help="run no Xray here: all keys live on nodes with agents")
    ] = False,
) -> None:
    """Serve in the foreground until SIGTERM or Ctrl-C.

    A start is refused when the database, the key pair or the API key is missing, empty, damaged or older than
    config.json, although there were keys. With --start-empty what is damaged is moved to backups/ and made anew.
    With --no-node this is a control plane alone: several may run on one PostgreSQL database, behind a balancer.

    Exit codes: 0 ended on request; 1 it cannot start; 2 wrong command line or settings.
    """
    os.umask(0o077)  # SQLite creates its files with this mask
    # uvicorn shuts down and then raises the signal again, which without our own handler would kill the process.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with starting(_WHO):
        leave_root(set_data_dir())
        settings = load_settings({**ENVIRONMENT, **({f"{PREFIX}DOMAIN": domain} if domain else {})})
    try:
        with logging_as_set(settings):
            _serve(settings, start_empty=start_empty, no_node=no_node)
    except SystemExit as error:
        if error.code == 0:
            _leave()
        raise


def _serve(settings: Settings, *, start_empty: bool, no_node: bool) -> None:
    with starting(_WHO):
        _refuse_node(settings.data_dir)
        # Before anything is made: the API key of a first start is shown only once, at its end.
        check_named(settings, runs_xray=not no_node)
        server = _built(settings, start_empty=start_empty, no_node=no_node)
        check_certificate(server.certificate)
        public = public_sockets(settings.listen)  # before the start, which a taken port would have to undo
        server.start()
    _introduce(server, settings)
    notifier = notifier_of(ENVIRONMENT)
    try:
        socket = admin_socket(settings.data_dir)
        is_alive, introduce = partial(answers, server.reconciler.store), server.workers.introduce
        accompany = partial(notifier.accompany, is_alive, *_states_of(settings), introduce)
        on_ending, challenge = server.keys.changer.ending.begin, server.issuing.challenge
        nodes = partial(_nodes_elsewhere, server.reconciler.store)
        beside = Beside(accompany, server.workers, on_ending, challenge, settings.trusted_proxies, nodes)
        app = create_app(_services(server))
        # Keys stay as they are for long. To look for garbage among those of a large server would hold all threads for
        # half a second, every few seconds.
        gc.freeze()
        serve_until_asked(app, public, server.certificate, socket, beside)
    finally:
        # A second signal would break off the end, which takes the last sample of traffic.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        notifier.tell("STOPPING=1", "STATUS=Ending in order")
        server.stop()


def _nodes_elsewhere(store: Store) -> int:
    """Return of how many nodes agents may connect; of none while the database does not answer."""
    try:
        return sum(record.ref.id != LOCAL.id for record in store.nodes())
    except StoreUnavailable:
        return 0


def _refuse_node(data_dir: Path) -> None:
    """Raise SettingsError for the data directory of a node: its keys would be taken for those of a server."""
    if os.access(data_dir / MEMBERSHIP_FILE, os.F_OK):
        msg = f"VPNKEYS_DATA_DIR: {data_dir} belongs to a node; `vpnkeys agent` runs it. Give a server one of its own"
        raise SettingsError(msg)


def _built(settings: Settings, *, start_empty: bool, no_node: bool) -> Server | ControlPlane:
    if no_node:
        return build_plane(settings, start_empty=start_empty)
    return build(settings, obtain(settings.xray_bin, say), start_empty=start_empty)


def _services(server: Server | ControlPlane) -> Services:
    """Return what the API calls of the server."""
    store = server.reconciler.store
    return Services(
        audit=AuditLog(store),
        backups=BackupService(store, server.daily_backup),
        doors=DoorService(server.reconciler),
        enforcer=server.enforcer,
        fleet=_fleet(server),
        health=server.health,
        keys=server.keys,
        look=store.look if store.is_remote else None,
        overview=server.overview.look,
        rate_limits=server.settings.rate_limits,
        cors_origins=server.settings.cors_origins,
        reporter=server.reporter,
        selftest=server.selftest,
        site=lambda: server.reconciler.site,
        subscriptions=server.subscriptions,
        system=server.system,
        tokens=server.tokens,
        traffic=server.traffic,
        vitals=server.monitor.look,
        webhooks=server.webhooks,
        xray_version=server.xray_version,
        public_url=server.settings.public_url,
    )


def _fleet(server: Server | ControlPlane) -> Fleet:
    board, clock = server.elsewhere.board, server.keys.clock
    refusals = Refusals(board.store, board.monotonic)
    reports = ReportService(board, clock, refusals, server.far_limits.note_traffic)
    server.traffic.online_elsewhere = reports.online

    def local_host() -> HostState:
        return HostState(server.overview.cpu_share, 0.0)

    nodes = NodeService(
        server.reporter, server.keys.pool, clock, board, has_local=server.elsewhere.has_local, local_host=local_host
    )
    server.monitor.nodes = nodes.glance
    mover = Mover(server.keys, server.elsewhere, server.traffic.count_left)
    return Fleet(board, nodes, NodeAdmin(board, clock, refusals), reports, mover, partial(_join_command, server))


def _join_command(server: Server | ControlPlane, token: str) -> str:
    """Return the command that makes a new machine a node of this server.

    The certificate is pinned where the server made it itself; others are renewed, and checked by their authorities.
    """
    settings = server.settings
    is_checked = settings.domain or settings.public_url or settings.tls_cert is not None
    pin = "" if is_checked else f" --fingerprint {server.certificate.fingerprint()}"
    return f"vpnkeys agent join {settings.base_url} --token {token}{pin}"


def answers(store: Store) -> bool:
    """Return whether the database answers, if it is this process's own.

    A missing Xray does not count, nor does a database elsewhere: restarting the server would not help, and would lose
    the stops that such a database has not taken yet.
    """
    if store.is_remote:
        return True
    try:
        store.keys()
    except Unavailable:
        return False
    return True


def _states_of(settings: Settings) -> tuple[str, str]:
    """Return the status lines for systemd: for a healthy server, and for one whose database does not answer."""
    where = f"{host_in_url(settings.listen.host)}:{settings.listen.port}"
    return f"Serving on {where}", f"Listening on {where}, but the database does not answer"


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End with code 0, through all `finally` blocks: being asked to end is no failure."""
    raise SystemExit(0)


def _leave() -> None:
    """End the process at once, with code 0: all is closed, and Python would free each of its objects first."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(0)


def _own_command() -> str:
    """Return how this program is called: in the foreground it is seldom on the PATH."""
    called = Path(sys.argv[0])
    return quote(str(called)) if called.name == "vpnkeys" else f"{quote(sys.executable)} -m vpnkeys"


def _introduce(server: Server | ControlPlane, settings: Settings) -> None:
    url = settings.base_url
    say(f"vpnkeys {__version__} serves {url}")
    if not server.elsewhere.has_local:
        say("no Xray runs here (--no-node): keys live on nodes; `vpnkeys nodes add NAME` makes one")
    elif fault := address_fault(settings):
        say(f"warning: links have the address {settings.server_address}, a guess: {fault}; set VPNKEYS_SERVER_ADDRESS")
    say(f"data directory: {settings.data_dir}")
    say(f"certificate (SHA-256): {server.certificate.fingerprint()}")
    if server.new_api_key is not None:
        say(f"\nAPI key, shown this once: {server.new_api_key}\n\nThe first key, in another terminal, with its link:\n")
        say(f"  VPNKEYS_DATA_DIR={quote(str(settings.data_dir.absolute()))} {_own_command()} keys add me --qr\n")
        say("or by the API:\n")
        # -k, because the certificate of a first start is self-signed, and curl cannot check a fingerprint.
        say(f"  curl -k {url}/api/keys -H 'X-API-Key: {server.new_api_key}' \\")
        say("       -H 'Content-Type: application/json' -d '{\"name\": \"me\"}'\n")
