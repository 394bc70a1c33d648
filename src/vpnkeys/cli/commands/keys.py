"""`vpnkeys keys`: list, add, show, change and remove keys."""

import sys
from typing import Annotated

import typer
from rich.progress import track

from vpnkeys.cli.arguments import KeyId, KeyIds, Qr, Yes
from vpnkeys.cli.commands.links import link, qr, refuse_both, show, subscribe, tell_address, tell_key
from vpnkeys.cli.commands.selftest import test
from vpnkeys.cli.key_options import (
    ActiveOption,
    DevicesOption,
    ExpiresOption,
    NoteOption,
    SpeedOption,
    TrafficOption,
    WindowOption,
    limits_of,
)
from vpnkeys.cli.output.tables import key_fields, status_of, table_of, table_of_fields, table_of_keys, to_second
from vpnkeys.cli.output.usage import key_history, online
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server, can_ask, console_for, wrong_usage
from vpnkeys.client import Key, KeyConfig, KeyLimits, NewKey

app = typer.Typer(name="keys", no_args_is_help=True, help="List, add, show, change and remove keys.", epilog=EXIT_CODES)

_MOST_AT_ONCE = 1000


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
    name: Annotated[str | None, typer.Argument(help="Whose key it is.", show_default=False)] = None,
    *,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_AT_ONCE, help="Make so many, all of them or none; with --prefix."),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Their names: the prefix and a number, from 1.")] = None,
    note: NoteOption = None,
    active: ActiveOption = None,
    expires: ExpiresOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
    qr: Qr = False,
) -> None:
    """Make a key, or many, and print the links, which work when this command ends."""
    refuse_both(session, qr=qr)
    limits = limits_of(
        note=note,
        active=active,
        expires=expires,
        traffic_limit=traffic_limit,
        window=window,
        devices=devices,
        speed=speed,
    )
    if name is not None and count is None and prefix is None:
        with session.busy("Making the key"):
            config = session.server.keys.config(session.server.keys.create(name, **limits).id)
        tell_key(session, config, qr=qr)
    elif name is None and count is not None and prefix is not None:
        _add_many(session, [f"{prefix}{number}" for number in range(1, count + 1)], limits, qr=qr)
    else:
        wrong_usage("give a name, or --count and --prefix")


def _add_many(session: Session, names: list[str], limits: KeyLimits, *, qr: bool) -> None:
    drafts: list[NewKey] = [{"name": name, **limits} for name in names]
    with session.busy(f"Making {len(drafts)} keys"):
        made = session.server.keys.create_many(drafts)
    configs = _configs_of(session, made)
    session.tell([config.as_sent() for config in configs], table_of_keys(made))
    for config in () if session.as_json else configs:
        tell_address(config.vless_url, qr=qr)


def _configs_of(session: Session, keys: list[Key]) -> list[KeyConfig]:
    """The links, one request each."""
    console = console_for(sys.stderr)
    waiting = track(keys, "Asking for the links", console=console, transient=True, disable=not console.is_terminal)
    return [session.server.keys.config(key.id) for key in waiting]


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


@app.command("extend")
@asks_server
def extend(
    session: Session,
    key_ids: KeyIds,
    *,
    days: Annotated[int, typer.Option(min=1, max=3650, help="By how many days.", show_default=False)],
) -> None:
    """Let keys expire later, all of them or none; those that never expire stay so."""
    keys = session.server.keys.extend(key_ids, days)
    session.tell([key.as_sent() for key in keys], table_of(("ID", "Name", "Status", "Expires (UTC)"), _expiries(keys)))


def _expiries(keys: list[Key]) -> list[tuple[str, str, str, str]]:
    return [(key.id, key.name, status_of(key), to_second(key.expires_at) or "never") for key in keys]


@app.command("rm")
@asks_server
def remove(session: Session, key_ids: KeyIds, *, yes: Yes = False) -> None:
    """Remove keys, all of them or none; their open connections are cut."""
    keys = session.server.keys
    if not yes and can_ask():
        for key in map(keys.get, key_ids):
            session.show_people(f"{key.name!r} on port {key.port}")
    session.confirm("Remove this key?" if len(key_ids) == 1 else f"Remove these {len(key_ids)} keys?", yes=yes)
    answer = keys.delete(key_ids[0]) if len(key_ids) == 1 else keys.delete_many(key_ids)
    session.tell(answer.as_sent(), answer.message)


app.command("show")(show)
app.command("link")(link)
app.command("qr")(qr)
app.command("sub")(subscribe)
app.command("test")(test)
app.command("history")(key_history)
app.command("online")(online)
