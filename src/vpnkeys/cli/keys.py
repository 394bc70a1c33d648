"""`vpnkeys keys`: list, add, show, change and remove keys."""

import io
import sys
from typing import Annotated

import segno
import typer

from vpnkeys.cli.limits import (
    ActiveOption,
    DevicesOption,
    ExpiresOption,
    NoteOption,
    SpeedOption,
    TrafficOption,
    WindowOption,
    limits_of,
)
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server, wrong_usage
from vpnkeys.cli.tables import key_fields, table_of_fields, table_of_keys
from vpnkeys.client import KeyConfig

app = typer.Typer(name="keys", no_args_is_help=True, help="List, add, show, change and remove keys.", epilog=EXIT_CODES)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id or its UUID.")]
Qr = Annotated[bool, typer.Option("--qr", help="Draw the link as a QR code, for a phone to read from the screen.")]


@app.command("list")
@asks_server
def list_keys(session: Session) -> None:
    """All keys, oldest first."""
    keys = session.server.keys.list()
    session.tell([key.as_sent() for key in keys], table_of_keys(keys))


@app.command("add")
@asks_server
def add(  # noqa: PLR0913 - one for each option
    session: Session,
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    *,
    note: NoteOption = None,
    active: ActiveOption = None,
    expires: ExpiresOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
    qr: Qr = False,
) -> None:
    """Make a key and print its link, which works when this command ends."""
    _refuse_both(session, qr=qr)
    limits = limits_of(
        note=note,
        active=active,
        expires=expires,
        traffic_limit=traffic_limit,
        window=window,
        devices=devices,
        speed=speed,
    )
    key = session.server.keys.create(name, **limits)
    _tell(session, session.server.keys.config(key.id), qr=qr)


@app.command("set")
@asks_server
def change(  # noqa: PLR0913 - one for each option
    session: Session,
    key_id: KeyId,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Whose key it is.")] = None,
    note: NoteOption = None,
    active: ActiveOption = None,
    expires: ExpiresOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
) -> None:
    """Change a key; what is not given stays as it is, and so does the link."""
    limits = limits_of(
        note=note,
        active=active,
        expires=expires,
        traffic_limit=traffic_limit,
        window=window,
        devices=devices,
        speed=speed,
    )
    if name is None and not limits:
        wrong_usage("give what to change, such as --name or --expires")
    keys = session.server.keys
    key = keys.change(key_id, **limits) if name is None else keys.change(key_id, name=name, **limits)
    session.tell(key.as_sent(), table_of_fields(key_fields(key)))


@app.command("show")
@asks_server
def show(session: Session, key_id: KeyId, *, qr: Qr = False) -> None:
    """One key and its link."""
    _refuse_both(session, qr=qr)
    _tell(session, session.server.keys.config(key_id), qr=qr)


@app.command("rm")
@asks_server
def remove(
    session: Session,
    key_id: KeyId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")] = False,
) -> None:
    """Remove a key; its open connections are cut."""
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        key = session.server.keys.get(key_id)
        typer.confirm(f"Remove the key {key.name!r} on port {key.port}?", abort=True, err=True)
    answer = session.server.keys.delete(key_id)
    session.tell(answer.as_sent(), answer.message)


def _refuse_both(session: Session, *, qr: bool) -> None:
    if qr and session.as_json:
        wrong_usage("give --qr or --json: a picture is no JSON")


def _tell(session: Session, config: KeyConfig, *, qr: bool) -> None:
    session.tell(config.as_sent(), table_of_fields(key_fields(config.key)))
    if session.as_json:
        return
    if qr:
        print()
        print(_picture(config.vless_url), end="")
    print(f"\n{config.vless_url}")  # as it is, so that it can be copied from any width of terminal


def _picture(link: str) -> str:
    """A QR code in half-block characters."""
    picture = io.StringIO()
    segno.make_qr(link, error="l").terminal(picture, compact=True)
    return picture.getvalue()
