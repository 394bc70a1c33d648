"""`vpnkeys import legacy`: imports an installation of version 2.3."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vpnkeys.cli.commands.imports.common import text_of, told, write_json
from vpnkeys.cli.output.plain import Plain, plain
from vpnkeys.domain.key import Key
from vpnkeys.ops.offline import offline_store
from vpnkeys.owner import as_owner
from vpnkeys.service.legacy.importing import ImportPlan, LegacyInstallation, carry_out, plan_import
from vpnkeys.service.legacy.reading import read_installation
from vpnkeys.service.legacy.values import parse_server_name
from vpnkeys.settings import Settings, load_settings, set_data_dir
from vpnkeys.store.files.legacy import read_legacy_database
from vpnkeys.store.files.secrets import save_key_pair
from vpnkeys.store.files.snapshot import peek_key_pair, peek_keys

ImportStatus = Literal["imported", "would_import", "nothing_to_do", "clashes"]

_HEADLINES: dict[ImportStatus, str] = {
    "imported": "Imported {keys} keys; {unchanged} existed already.",
    "would_import": "{keys} keys would be imported; {unchanged} exist already. Nothing was written.",
    "nothing_to_do": "Nothing to do: all {unchanged} keys exist already.",
    "clashes": "Nothing was imported, because of {clashes} conflicts:",
}
_TABLE_WIDTH = 160  # without a terminal


def _server_name(value: str) -> str:
    try:
        return parse_server_name(value) if value else ""
    except ValueError as error:
        raise typer.BadParameter(f"{value} {error}") from error


def legacy(  # noqa: PLR0913, PLR0917 - one for each option
    database: Annotated[Path, typer.Option(help="the old server's SQLite database")],
    config: Annotated[Path, typer.Option(help="the config.json of the old Xray")],
    keys: Annotated[Path, typer.Option(help="the old keys.env, with PRIVATE_KEY and PUBLIC_KEY")],
    sni: Annotated[
        str, typer.Option(help="the sni in the links of keys whose sni is unknown", callback=_server_name)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would happen, write nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Import an installation of version 2.3: its links keep working, and its totals are kept.

    Stop the old server first, so that its totals are final, and stop vpnkeys too. Keys that exist already are not
    changed, so the import can be repeated.

    Exit codes: 0 done; 1 refused: all conflicts are listed, and nothing was written; 2 wrong command line or settings.
    """
    os.umask(0o077)  # SQLite creates its files with this mask
    with told(as_json=as_json):
        # Before root becomes the server's user, who may have no access to the files that root names.
        with as_owner(database):
            rows = read_legacy_database(database)
        installation = read_installation(rows, text_of(config), text_of(keys), sni)
        with as_owner(set_data_dir()):
            settings = load_settings()
            status, plan = _import(settings, installation, dry_run=dry_run)
    notes = () if status == "nothing_to_do" else (*installation.notes, *_advice(status, plan, settings))
    if as_json:
        _print_json(status, plan, notes)
    else:
        _print(status, plan, notes)
    if status == "clashes":
        raise typer.Exit(1)


def _import(settings: Settings, installation: LegacyInstallation, *, dry_run: bool) -> tuple[ImportStatus, ImportPlan]:
    """Return the plan and its status. It plans on a copy of the data, and writes only without conflicts."""
    pair = peek_key_pair(settings.data_dir)
    plan = plan_import(installation, peek_keys(settings.database_url), settings.port_range, pair)
    if plan.clashes:
        return "clashes", plan
    if not plan or dry_run:
        return ("would_import" if plan else "nothing_to_do"), plan
    with offline_store(settings) as store, store.write() as transaction:
        # Planned again now that the data are locked: the copy may be outdated.
        pair = peek_key_pair(settings.data_dir)
        plan = plan_import(installation, transaction.keys(), settings.port_range, pair)
        carry_out(plan, transaction, lambda new: save_key_pair(settings.data_dir, new))
    return ("clashes" if plan.clashes else "imported"), plan


def _advice(status: ImportStatus, plan: ImportPlan, settings: Settings) -> Iterable[str]:
    """Yield what the operator has to do besides the import."""
    if status not in ("imported", "would_import"):
        return
    cold = sorted({key.sni for key in plan.keys if key.is_active} - set(settings.reality_server_names))
    if cold:
        names = ",".join([*settings.reality_server_names, *cold])
        yield (
            f"Add {', '.join(cold)} to the server names (VPNKEYS_REALITY_SERVER_NAMES={names}); otherwise the first "
            "client with each of these names waits five seconds after every start of Xray."
        )
    yield (
        f"Existing links work only if their host leads to this machine; new links use VPNKEYS_SERVER_ADDRESS "
        f"({settings.server_address}). Stop the old server and its Xray before you start vpnkeys: both use the ports."
    )


def _print_json(status: ImportStatus, plan: ImportPlan, notes: Iterable[str]) -> None:
    write_json(
        {
            "status": status,
            "keys": [_row(key, plan.accounts[key.uuid]) for key in plan.keys],
            "unchanged": [key.uuid for key in plan.unchanged],
            "key_pair": "kept" if plan.key_pair is None else "taken_over",
            "clashes": [{"code": clash.code, "message": clash.message} for clash in plan.clashes],
            "notes": list(notes),
        }
    )


def _row(key: Key, total_bytes: int) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "uuid": key.uuid,
        "created_at": key.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "is_active": key.is_active,
        "port": key.port,
        "short_id": key.short_id,
        "sni": key.sni,
        "flow": key.flow,
        "total_bytes": total_bytes,
    }


def _print(status: ImportStatus, plan: ImportPlan, notes: Iterable[str]) -> None:
    if plan.keys:
        Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH).print(Plain(_table(plan)))
    counts = {"keys": len(plan.keys), "unchanged": len(plan.unchanged), "clashes": len(plan.clashes)}
    print(_HEADLINES[status].format(**counts))
    for clash in plan.clashes:
        print(f"  {plain(clash.message)}")
    for note in notes:
        print(f"note: {plain(note)}")


def _table(plan: ImportPlan) -> Table:
    table = Table("name", "uuid", "port", "short id", "sni", "flow", "active", "bytes")
    for key in plan.keys:
        cells = (key.uuid, str(key.port), key.short_id, key.sni, key.flow or "none", "yes" if key.is_active else "no")
        # Text, because rich would interpret markup in a plain string, and a name may look like markup.
        table.add_row(*map(Text, (key.name, *cells, str(plan.accounts[key.uuid]))))
    return table
