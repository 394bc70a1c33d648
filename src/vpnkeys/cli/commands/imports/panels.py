"""`vpnkeys import 3x-ui` and `vpnkeys import marzban`: give other panels' customers keys with new links."""

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vpnkeys.cli.commands.imports.common import text_of, told, write_json
from vpnkeys.cli.output.plain import Plain, plain
from vpnkeys.cli.output.tables import expiry, short_bytes
from vpnkeys.clock import SystemClock
from vpnkeys.domain.forms.vless import render_link
from vpnkeys.domain.key import Key
from vpnkeys.domain.moving import Panel, render_old_link
from vpnkeys.domain.reached import parse_host
from vpnkeys.domain.reality import KeyPair
from vpnkeys.files import write_atomically
from vpnkeys.ops.panels import move_in, site_of_links
from vpnkeys.owner import as_owner
from vpnkeys.service.moving.importing import MovePlan
from vpnkeys.service.moving.marzban import MARZBAN_TABLES, read_marzban, read_marzban_answer
from vpnkeys.service.moving.three_x_ui import THREE_X_UI_TABLES, read_3x_ui
from vpnkeys.settings import Settings, load_settings, set_data_dir
from vpnkeys.store.files.legacy import is_database, read_tables
from vpnkeys.store.files.snapshot import peek_key_pair

_Status = Literal["imported", "would_import", "nothing_to_do"]

_HEADLINES: dict[_Status, str] = {
    "imported": "Imported {keys} keys; {unchanged} existed already; {left_out} entries are not imported.",
    "would_import": "{keys} keys would be imported; {unchanged} exist already; {left_out} entries would not be "
    "imported. Nothing was written.",
    "nothing_to_do": "Nothing to do: {unchanged} keys exist already; {left_out} entries are not imported.",
}
_TABLE_WIDTH = 160  # without a terminal

_DryRun = Annotated[bool, typer.Option("--dry-run", help="print what would happen, write nothing")]


def _host(value: str) -> str:
    try:
        return parse_host(value) if value else ""
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


_Links = Annotated[
    Path | None,
    typer.Option("--links", dir_okay=False, help="write the old and the new link of each key to this CSV file"),
]
_OldHost = Annotated[
    str,
    typer.Option("--old-host", callback=_host, help="the host in the old links, if it is not this server's address"),
]
_KeepOldLinks = Annotated[
    bool,
    typer.Option("--keep-old-links", help="keep the panel's inbounds as doors: old links work until you close them"),
]
_AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def three_x_ui(  # noqa: PLR0913, PLR0917 - one for each option
    file: Annotated[Path, typer.Argument(help="the panel's database, x-ui.db, or a copy of it")],
    dry_run: _DryRun = False,
    links: _Links = None,
    old_host: _OldHost = "",
    keep_old_links: _KeepOldLinks = False,
    as_json: _AsJson = False,
) -> None:
    """Import the customers of 3x-ui 2.x or 3.x, each as a key with a port and a link of its own.

    Names, comments, UUIDs, limits, expiry and what was used come over, and the key pair and short ids of VLESS inbounds
    with REALITY. All else is listed, with the reason. Stop the panel first, so that its totals are final, and stop
    vpnkeys too. Keys that exist already are not changed, so the import can be repeated.

    Exit codes: 0 done; 1 refused, and nothing was written; 2 wrong command line or settings.
    """

    def read() -> Panel:
        with as_owner(file):
            tables = read_tables(file, THREE_X_UI_TABLES, "the database of 3x-ui")
        return read_3x_ui(tables, SystemClock().now())

    _import(read, _Options(dry_run, links, old_host, keep_old_links, as_json))


def marzban(  # noqa: PLR0913, PLR0917 - one for each option
    file: Annotated[Path, typer.Argument(help="the panel's db.sqlite3, or what its API answers to /api/users")],
    config: Annotated[Path | None, typer.Option(help="its xray_config.json, which says what the inbounds are")] = None,
    dry_run: _DryRun = False,
    links: _Links = None,
    old_host: _OldHost = "",
    keep_old_links: _KeepOldLinks = False,
    as_json: _AsJson = False,
) -> None:
    """Import the users of Marzban, each as a key with a port and a link of its own.

    Names, notes, UUIDs, limits, expiry and what was used come over, and with --config the key pair and short ids of
    VLESS inbounds with REALITY. All else is listed, with the reason. Stop the panel first, so that its totals are
    final, and stop vpnkeys too. Keys that exist already are not changed, so the import can be repeated.

    Exit codes: 0 done; 1 refused, and nothing was written; 2 wrong command line or settings.
    """

    def read() -> Panel:
        inbounds = None if config is None else text_of(config)
        with as_owner(file):
            if is_database(file):
                return read_marzban(read_tables(file, MARZBAN_TABLES, "the database of Marzban"), inbounds)
        return read_marzban_answer(text_of(file), inbounds)

    _import(read, _Options(dry_run, links, old_host, keep_old_links, as_json))


@dataclass(frozen=True, slots=True)
class _Options:
    dry_run: bool
    links: Path | None
    old_host: str
    keep_old_links: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was done, or would be; `pair` is None while this server has none."""

    status: _Status
    panel: Panel
    plan: MovePlan
    settings: Settings
    pair: KeyPair | None

    @property
    def new_bytes(self) -> int:
        """What the new keys have used."""
        return sum(self.plan.used_bytes.values())

    @property
    def old_bytes(self) -> int:
        """What those had used there who are here already."""
        ids = {key.id for key in self.plan.unchanged}
        return sum(one.used_bytes for one, key in self.plan.moved if key.id in ids)

    @property
    def left_bytes(self) -> int:
        """What all that is not imported has used."""
        return sum(one.used_bytes for one in self.panel.left_out)


def _import(read: Callable[[], Panel], options: _Options) -> None:
    os.umask(0o077)  # SQLite creates its files with this mask
    with told(as_json=options.as_json):
        panel = read()
        with as_owner(set_data_dir()):
            settings = load_settings()
            plan = move_in(settings, panel, dry_run=options.dry_run, keep_old_links=options.keep_old_links)
            pair = plan.key_pair or peek_key_pair(settings.data_dir)
    status: _Status = "nothing_to_do" if not plan else "would_import" if options.dry_run else "imported"
    panel = replace(panel, left_out=(*panel.left_out, *plan.left_out))
    outcome = _Outcome(status, panel, plan, settings, pair)
    if options.as_json:
        _print_json(outcome)
    else:
        _print(outcome)
    if options.links is not None and not options.dry_run:
        _write_links(outcome, options.links, options.old_host)


def _write_links(outcome: _Outcome, path: Path, old_host: str) -> None:
    """Write a line for each key that is here now. Raises Exit when the file cannot be written."""
    out = io.StringIO(newline="")
    lines = csv.writer(out)
    lines.writerow(["name", "uuid", "old_link", "new_link"])
    for customer, key in outcome.plan.moved:
        old = render_old_link(customer, old_host or outcome.settings.server_address)
        lines.writerow([key.name, customer.uuid, old, _link(outcome, key)])
    try:
        with as_owner(path):
            write_atomically(path, out.getvalue().encode())
    except OSError as error:
        typer.echo(
            f"The keys are imported, but the links could not be written: {plain(str(error))}. Repeat the command with "
            "--links and another file: it changes nothing else.",
            err=True,
        )
        raise typer.Exit(1) from error


def _link(outcome: _Outcome, key: Key) -> str:
    return "" if outcome.pair is None else render_link(key, site_of_links(outcome.settings, outcome.pair))


def _advice(outcome: _Outcome) -> Iterator[str]:
    """Yield what changes for the keys, and what the operator has to do besides the import."""
    yield from outcome.panel.notes
    yield from outcome.plan.notes
    if outcome.status == "nothing_to_do":
        return
    inbounds = {customer.inbound for customer, _ in outcome.plan.moved if customer.inbound is not None}
    if outcome.plan.key_pair in {inbound.key_pair for inbound in inbounds}:
        yield "The key pair of the panel becomes this server's."
    elif inbounds:
        yield "This server keeps its own key pair, with which its keys were made."
    names = {name for inbound in inbounds for name in inbound.server_names}
    if other := sorted(names - set(outcome.settings.reality_server_names)):
        yield (
            f"The panel's server names {', '.join(other)} are not this server's: new links have others, unless you add "
            "them to VPNKEYS_REALITY_SERVER_NAMES before the import."
        )
    if not outcome.plan.doors:
        yield "Old links work only while the old panel runs: give each customer the new one (--links FILE writes both)."


def _print_json(outcome: _Outcome) -> None:
    write_json(
        {
            "status": outcome.status,
            "keys": [_row(outcome, key) for key in outcome.plan.keys],
            "unchanged": [key.uuid for key in outcome.plan.unchanged],
            "doors": [{"tag": one.tag, "port": one.port, "keys": len(one.members)} for one in outcome.plan.doors],
            "key_pair": "kept" if outcome.plan.key_pair is None or not outcome.plan else "taken_over",
            "left_out": [
                {"what": one.what, "why": one.why, "used_bytes": one.used_bytes} for one in outcome.panel.left_out
            ],
            "used_bytes": {
                "panel": outcome.panel.used_bytes,
                "imported": outcome.new_bytes,
                "unchanged": outcome.old_bytes,
                "left_out": outcome.left_bytes,
            },
            "notes": list(_advice(outcome)),
        }
    )


def _row(outcome: _Outcome, key: Key) -> dict[str, object]:
    limits, is_made = key.limits, outcome.status == "imported"  # what is by chance is not known before
    return {
        "id": key.id if is_made else None,
        "name": key.name,
        "uuid": key.uuid,
        "note": key.note,
        "created_at": key.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "is_active": key.is_active,
        "status": key.status,
        "port": key.port,
        "short_id": key.short_id if is_made else None,
        "sni": key.sni if is_made else None,
        "traffic_limit_bytes": limits.traffic_bytes,
        "traffic_limit_window": limits.traffic_window,
        "max_devices": limits.max_devices,
        "expires_at": None if limits.expires_at is None else limits.expires_at.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "expires_after_s": limits.expires_after_s,
        "used_bytes": outcome.plan.used_bytes[key.account],
        "vless_url": _link(outcome, key) if is_made else None,
    }


def _print(outcome: _Outcome) -> None:
    plan, left_out = outcome.plan, outcome.panel.left_out
    if plan.keys:
        Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH).print(Plain(_table(outcome)))
    counts = {"keys": len(plan.keys), "unchanged": len(plan.unchanged), "left_out": len(left_out)}
    print(_HEADLINES[outcome.status].format(**counts))
    for one in left_out:
        print(f"  not imported: {plain(one.what)}: {plain(one.why)}.")
    print(
        f"Used in all: {outcome.panel.used_bytes} bytes; by new keys {outcome.new_bytes}, "
        f"not imported {outcome.left_bytes}."
    )
    for note in _advice(outcome):
        print(f"note: {plain(note)}")


def _table(outcome: _Outcome) -> Table:
    table = Table("name", "uuid", "port", "status", "used", "limit", "window", "devices", "expires")
    for key in outcome.plan.keys:
        limits, used = key.limits, outcome.plan.used_bytes[key.account]
        at = None if limits.expires_at is None else limits.expires_at.replace(tzinfo=UTC)
        cells = (
            short_bytes(used),
            "" if limits.traffic_bytes is None else short_bytes(limits.traffic_bytes),
            limits.traffic_window,
            str(limits.max_devices or ""),
            expiry(at, limits.expires_after_s),
        )
        # Text, because rich would interpret markup in a plain string, and a name may look like markup.
        table.add_row(*map(Text, (key.name, key.uuid, str(key.port), key.status, *cells)))
    return table
