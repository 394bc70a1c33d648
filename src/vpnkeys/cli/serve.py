"""`vpnkeys serve`: the server in the foreground."""

import logging
import sys

import typer
import uvicorn

from vpnkeys import __version__
from vpnkeys.api.app import create_app
from vpnkeys.bootstrap import Server, build
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.settings import Settings, SettingsError, load_settings
from vpnkeys.xray.binary import obtain

_GRACE_S = 3


def say(line: str) -> None:
    """A line for whoever watches the start."""
    print(line, file=sys.stderr, flush=True)


def serve() -> None:
    """Serve in the foreground until SIGTERM or Ctrl-C."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        settings = load_settings()
        server = build(settings, obtain(settings.xray_bin, say))
        server.start()
    except SettingsError as error:
        say(f"vpnkeys cannot start:\n{error}")
        raise typer.Exit(2) from error
    except VpnKeysError as error:
        say(f"vpnkeys cannot start: {error}")
        raise typer.Exit(1) from error
    _introduce(server, settings)
    try:
        _run(server, settings)
    finally:
        server.stop()


def _run(server: Server, settings: Settings) -> None:
    config = uvicorn.Config(
        create_app(server),
        host=settings.listen.host,
        port=settings.listen.port,
        ssl_certfile=str(server.certificate.cert),
        ssl_keyfile=str(server.certificate.key),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        loop="uvloop",
        http="httptools",
    )
    uvicorn.Server(config).run()


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
