"""`vpnkeys keys`: listing, adding, showing, changing and removing keys."""

import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from vpnkeys.cli.arguments import KeyId, KeyIds, Qr, Yes
from vpnkeys.cli.commands.links import in_a_file, link, print_address, print_key, qr, refuse_both, show, subscribe, test
from vpnkeys.cli.failures import kept_if_lost, wrong_usage
from vpnkeys.cli.key_options import (
    ActiveOption,
    AfterOption,
    DevicesOption,
    ExpiresOption,
    GroupOption,
    NodeOption,
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
from vpnkeys.cli.output.listing import Sort, chosen
from vpnkeys.cli.output.tables import exact_expiry, key_fields, status_of, table_of, table_of_fields, table_of_keys
from vpnkeys.cli.output.usage import key_history, online
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server, can_ask, console_for
from vpnkeys.client import Key, KeyConfig, KeyFields, NewKey, NewKeyFields
from vpnkeys.domain.limits import Status

app = typer.Typer(name="keys", no_args_is_help=True, help="List, add, show, change and remove keys.", epilog=EXIT_CODES)

_MOST_AT_ONCE = 1000
"""The API's own limit for one request."""


@app.command("list")
@asks_server
def list_keys(  # noqa: PLR0913 - one for each option
    remote: Remote,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Only keys with exactly this name.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only keys with this status.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only keys with this text in name, note or id.")
    ] = None,
    sort: Annotated[
        Sort, typer.Option("--sort", help="The order; what is used most and expires first comes first.")
    ] = Sort.MADE,
    wide: Annotated[bool, typer.Option("--wide", help="Also the whole id, port, SNI, and when it was made.")] = False,
) -> None:
    """List keys, with what they have used and who is online."""
    keys = chosen(remote.server.keys.list(name), status, search, sort)
    # As JSON the API's keys are printed, which do not say who is online.
    online = {} if remote.as_json else {one.key_id: one.devices for one in remote.server.traffic.now().keys}
    remote.show([key.as_sent() for key in keys], table_of_keys(keys, online, wide=wide))


@app.command("add")
@asks_server
def add(  # noqa: PLR0913 - one for each option
    remote: Remote,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="The keys' names.", show_default=False)
    ] = None,
    *,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_AT_ONCE, help="Make this many keys of one name, with a number from 1 after it."),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="The same name for --count as an option.")] = None,
    note: NoteOption = None,
    active: ActiveOption = None,
    expires: ExpiresOption = None,
    expires_after: AfterOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
    utls_fingerprint: UtlsOption = None,
    uuid: UuidOption = None,
    short_id: ShortIdOption = None,
    sni: SniOption = None,
    port: PortOption = None,
    node: NodeOption = None,
    group: GroupOption = None,
    qr: Qr = False,
) -> None:
    """Make one key or many, and print the links. They work as soon as this command ends."""
    refuse_both(remote, qr=qr)
    limits = limits_of(
        remote,
        note=note,
        active=active,
        expires=expires,
        expires_after=expires_after,
        traffic_limit=traffic_limit,
        window=window,
        devices=devices,
        speed=speed,
        utls=utls_fingerprint,
    )
    if node is not None and group is not None:
        wrong_usage("give --node or --group, not both")
    choices, place = choices_of(uuid=uuid, short_id=short_id, sni=sni, port=port), choices_of(node=node, group=group)
    wanted = _names_of(names or [], count, prefix)
    if count is None and len(wanted) == 1:
        _add_one(remote, wanted[0], cast("NewKeyFields", {**limits, **choices, **place}), qr=qr)
    elif choices:
        wrong_usage("--uuid, --short-id, --sni and --port are for one key: give its name alone")
    else:
        _add_many(remote, wanted, cast("NewKeyFields", {**limits, **place}), qr=qr)


def _names_of(names: list[str], count: int | None, prefix: str | None) -> list[str]:
    """Return the names of the keys to make: those given, or one of them so many times, with numbers."""
    given = [*names, prefix] if prefix is not None else names
    if not given or (prefix is not None and count is None):
        wrong_usage("give a name, several names, or one name and --count")
    if count is None:
        return given
    if len(given) > 1:
        wrong_usage("give one name with --count")
    return [f"{given[0]}{number}" for number in range(1, count + 1)]


def _add_one(remote: Remote, name: str, fields: NewKeyFields, *, qr: bool) -> None:
    with remote.busy("Making the key"):
        # The answer to a creation has no link; the key's configuration has.
        config = remote.server.keys.config(remote.server.keys.create(name, **fields).id)
    with kept_if_lost(f"The key is made; `vpnkeys keys link {config.key.id}` prints its link."):
        print_key(remote, config, qr=qr)


def _add_many(remote: Remote, names: list[str], fields: NewKeyFields, *, qr: bool) -> None:
    new_keys = [cast("NewKey", {"name": name, **fields}) for name in names]
    with remote.busy(f"Making {len(new_keys)} keys"):
        made = remote.server.keys.create_many(new_keys)
    configs = _configs_of(remote, made)
    with kept_if_lost("The keys are made; `vpnkeys keys list` lists them, `vpnkeys keys link KEY` prints a link."):
        remote.show([config.as_sent() for config in configs], table_of_keys(made))
        for config in () if remote.as_json else configs:
            print_address(config.vless_url, qr=qr, instead=in_a_file(config.key.id))


def _configs_of(remote: Remote, keys: Sequence[Key]) -> list[KeyConfig]:
    """Return the keys with their links, by one request each."""
    console = console_for(sys.stderr)
    from rich.progress import track  # noqa: PLC0415 - takes a twentieth of a second, and only making many keys shows it

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
    expires_after: AfterOption = None,
    traffic_limit: TrafficOption = None,
    window: WindowOption = None,
    devices: DevicesOption = None,
    speed: SpeedOption = None,
    utls_fingerprint: UtlsOption = None,
    port: OtherPortOption = None,
    yes: Yes = False,
) -> None:
    """Change a key. What is not given stays, and the link stays the same unless the key gets another port."""
    limits = limits_of(
        remote,
        note=note,
        active=active,
        expires=expires,
        expires_after=expires_after,
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
    if port is not None:
        remote.confirm("With another port, the key's present link will stop working. Go on?", yes=yes)
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
    with kept_if_lost(f"The key has its new link; `vpnkeys keys link {config.key.id}` prints it."):
        print_key(remote, config, qr=qr)


@app.command("extend")
@asks_server
def extend(
    remote: Remote,
    key_ids: KeyIds,
    *,
    days: Annotated[int, typer.Option(min=1, max=3650, help="The number of days to add.", show_default=False)],
) -> None:
    """Extend the expiry of keys, all or none. Keys without an expiry stay without one.

    The time of a key that waits for its first connection becomes longer.
    """
    keys = remote.server.keys.extend(key_ids, days)
    remote.show([key.as_sent() for key in keys], table_of(("ID", "Name", "Status", "Expires"), _expiries(keys)))


def _expiries(keys: list[Key]) -> list[tuple[str, str, str, str]]:
    return [(key.id, key.name, status_of(key), exact_expiry(key)) for key in keys]


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
