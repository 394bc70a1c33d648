"""`vpnkeys serve`: the server in the foreground."""

import logging
import os
import signal
import sys
from types import FrameType

import typer

from vpnkeys import __version__
from vpnkeys.api.app import create_app
from vpnkeys.bootstrap import Server, build
from vpnkeys.cli.listeners import check_certificate, serve_until_asked
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.settings import Settings, SettingsError, admin_socket, load_settings
from vpnkeys.xray.binary import obtain


def say(line: str) -> None:
    """A line for whoever watches the start."""
    print(line, file=sys.stderr, flush=True)


def serve() -> None:
    """Serve in the foreground until SIGTERM or Ctrl-C."""
    os.umask(0o077)  # SQLite makes its files by this alone
    # uvicorn ends in order and then sends itself what it got once more: without a handler of ours that would kill us.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = load_settings()
        server = build(settings, obtain(settings.xray_bin, say))
        check_certificate(server.certificate)
        server.start()
    except SettingsError as error:
        say(f"vpnkeys cannot start:\n{error}")
        raise typer.Exit(2) from error
    except VpnKeysError as error:
        say(f"vpnkeys cannot start: {error}")
        raise typer.Exit(1) from error
    _introduce(server, settings)
    try:
        socket = admin_socket(settings.data_dir)
        serve_until_asked(create_app(server), settings.listen, server.certificate, socket)
    finally:
        server.stop()


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Leave by all `finally`s: asked to end is a success."""
    raise typer.Exit(0)


def _introduce(server: Server, settings: Settings) -> None:
    host = f"[{settings.server_address}]" if ":" in settings.server_address else settings.server_address
    url = f"https://{host}:{settings.listen.port}"
    say(f"vpnkeys {__version__} serves {url}")
    say(f"data directory: {settings.data_dir}")
    say(f"certificate (SHA-256): {server.certificate.fingerprint()}")
    if server.new_api_key is not None:
        say(f"\nAPI key, shown this once: {server.new_api_key}\n\nThe first key:\n")
        say(f"  curl -k {url}/api/keys -H 'X-API-Key: {server.new_api_key}' \\")
        say("       -H 'Content-Type: application/json' -d '{\"name\": \"me\"}'\n")
