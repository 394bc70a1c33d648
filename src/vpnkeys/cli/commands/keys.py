"""`vpnkeys keys`: listing, adding, showing, changing and removing keys."""

import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer
from rich.progress import track

from vpnkeys.cli.arguments import KeyId, KeyIds, Qr, Yes
from vpnkeys.cli.commands.links import link, print_address, print_key, qr, refuse_both, show, subscribe
from vpnkeys.cli.commands.selftest import test
from vpnkeys.cli.key_options import (
    ActiveOption,
    DevicesOption,
    ExpiresOption,
    NoteOption,
    OtherPortOption,
    PortOption,
    ShortIdOption,
    SniOption,
    SpeedOption,
    TrafficOption,
    UtlsOption,
    UuidOption,
    WindowOption,
    choices_of,
    limits_of,
)
from vpnkeys.cli.output.tables import key_fields, status_of, table_of, table_of_fields, table_of_keys, to_second
from vpnkeys.cli.output.usage import key_history, online
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server, can_ask, console_for, wrong_usage
from vpnkeys.client import Key, KeyConfig, KeyFields, KeyLimits, NewKey, NewKeyFields

app = typer.Typer(name="keys", no_args_is_help=True, help="List, add, show, change and remove keys.", epilog=EXIT_CODES)

_MOST_AT_ONCE = 1000
"""The API's own limit for one request."""


@app.command("list")
@asks_server
def list_keys(
    remote: Remote,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Only keys with exactly this name.")] = None,
) -> None:
    """List all keys, oldest first."""
    keys = remote.server.keys.list(name)
    remote.show([key.as_sent() for key in keys], table_of_keys(keys))


@app.command("add")
@asks_server
def add(  # noqa: PLR0913 - one for each option
    remote: Remote,
    name: Annotated[str | None, typer.Argument(help="The key's name.", show_default=False)] = None,
    *,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_AT_ONCE, help="Make this many keys, all or none; with --prefix."),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="The prefix of their names; a number from 1 follows it.")] = None,
    note: NoteOption = None,
    active: ActiveOption = None,
    expires: ExpiresOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
    utls_fingerprint: UtlsOption = None,
    uuid: UuidOption = None,
    short_id: ShortIdOption = None,
    sni: SniOption = None,
    port: PortOption = None,
    qr: Qr = False,
) -> None:
    """Make one key or many, and print the links. They work as soon as this command ends."""
    refuse_both(remote, qr=qr)
    limits = limits_of(
        remote,
        note=note,
        active=active,
        expires=expires,
        traffic_limit=traffic_limit,
        window=window,
        devices=devices,
        speed=speed,
        utls=utls_fingerprint,
    )
    choices = choices_of(uuid=uuid, short_id=short_id, sni=sni, port=port)
    if name is not None and count is None and prefix is None:
        with remote.busy("Making the key"):
            # The answer to a creation has no link; the key's configuration has.
            config = remote.server.keys.config(
                remote.server.keys.create(name, **cast("NewKeyFields", {**limits, **choices})).id
            )
        print_key(remote, config, qr=qr)
    elif choices:
        wrong_usage("--uuid, --short-id, --sni and --port are for one key: give its name")
    elif name is None and count is not None and prefix is not None:
        _add_many(remote, [f"{prefix}{number}" for number in range(1, count + 1)], limits, qr=qr)
    else:
        wrong_usage("give a name, or --count and --prefix")


def _add_many(remote: Remote, names: list[str], limits: KeyLimits, *, qr: bool) -> None:
    new_keys = [cast("NewKey", {"name": name, **limits}) for name in names]
    with remote.busy(f"Making {len(new_keys)} keys"):
        made = remote.server.keys.create_many(new_keys)
    configs = _configs_of(remote, made)
    remote.show([config.as_sent() for config in configs], table_of_keys(made))
    for config in () if remote.as_json else configs:
        print_address(config.vless_url, qr=qr)


def _configs_of(remote: Remote, keys: Sequence[Key]) -> list[KeyConfig]:
    """Return the keys with their links, by one request each."""
    console = console_for(sys.stderr)
    waiting = track(keys, "Asking for the links", console=console, transient=True, disable=not console.is_terminal)
    return [remote.server.keys.config(key.id) for key in waiting]


@app.command("set")
@asks_server
def change(  # noqa: PLR0913 - one for each option
    remote: Remote,
    key_id: KeyId,
    *,
    name: Annotated[str | None, typer.Option("--name", help="The key's name.")] = None,
    note: NoteOption = None,
    active: ActiveOption = None,
    expires: ExpiresOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
    utls_fingerprint: UtlsOption = None,
    port: OtherPortOption = None,
) -> None:
    """Change a key. What is not given stays, and the link stays the same unless the key gets another port."""
    limits = limits_of(
        remote,
        note=note,
        active=active,
        expires=expires,
        traffic_limit=traffic_limit,
        window=window,
        devices=devices,
        speed=speed,
        utls=utls_fingerprint,
    )
    others = {"name": name, "port": port}
    fields = cast("KeyFields", {**limits, **{field: value for field, value in others.items() if value is not None}})
    if not fields:
        wrong_usage("give what to change, such as --name or --expires")
    key = remote.server.keys.change(key_id, **fields)
    remote.show(key.as_sent(), table_of_fields(key_fields(key)))


@app.command("rotate")
@asks_server
def rotate(  # noqa: PLR0913 - one for each option
    remote: Remote,
    key_id: KeyId,
    *,
    uuid: Annotated[bool, typer.Option("--uuid", help="Another UUID.")] = False,
    short_id: Annotated[bool, typer.Option("--short-id", help="Another short id.")] = False,
    sni: Annotated[bool, typer.Option("--sni", help="Another server name, one that works now.")] = False,
    qr: Qr = False,
    yes: Yes = False,
) -> None:
    """Give a key a new link, and print it. The old link stops working at once; port, limits and traffic stay."""
    refuse_both(remote, qr=qr)
    if not (uuid or short_id or sni):
        wrong_usage(
            "give what the key is to get anew: --uuid and --short-id for a link that has leaked, --sni for a dead name"
        )
    remote.confirm("The key's present link will stop working, and its connections end. Go on?", yes=yes)
    with remote.busy("Making the new link"):
        config = remote.server.keys.rotate(key_id, uuid=uuid, short_id=short_id, sni=sni)
    print_key(remote, config, qr=qr)


@app.command("extend")
@asks_server
def extend(
    remote: Remote,
    key_ids: KeyIds,
    *,
    days: Annotated[int, typer.Option(min=1, max=3650, help="The number of days to add.", show_default=False)],
) -> None:
    """Extend the expiry of keys, all or none. Keys without an expiry stay without one."""
    keys = remote.server.keys.extend(key_ids, days)
    remote.show([key.as_sent() for key in keys], table_of(("ID", "Name", "Status", "Expires (UTC)"), _expiries(keys)))


def _expiries(keys: list[Key]) -> list[tuple[str, str, str, str]]:
    return [(key.id, key.name, status_of(key), to_second(key.expires_at) or "never") for key in keys]


@app.command("rm")
@asks_server
def remove(remote: Remote, key_ids: KeyIds, *, yes: Yes = False) -> None:
    """Remove keys, all or none. Their open connections end at once."""
    keys = remote.server.keys
    if not yes and can_ask():
        for key in map(keys.get, key_ids):
            remote.show_notice(f"{key.name!r} on port {key.port}")
    remote.confirm("Remove this key?" if len(key_ids) == 1 else f"Remove these {len(key_ids)} keys?", yes=yes)
    answer = keys.delete(key_ids[0]) if len(key_ids) == 1 else keys.delete_many(key_ids)
    remote.show(answer.as_sent(), answer.message)


app.command("show")(show)
app.command("link")(link)
app.command("qr")(qr)
app.command("sub")(subscribe)
app.command("test")(test)
app.command("history")(key_history)
app.command("online")(online)
