"""The repair commands. On a terminal they first show what they would do, and ask for confirmation."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import RenderableType

from vpnkeys.cli.arguments import Yes
from vpnkeys.cli.output.tables import table_of, table_of_fields
from vpnkeys.cli.remote import Remote, asks_server
from vpnkeys.client import Move, PlannedInbound, PortsPlan, SyncPlan, TargetState

_RESTART = "Xray is restarted: open connections end once, and clients reconnect."


@asks_server
def sync(
    remote: Remote,
    *,
    restart: Annotated[
        bool, typer.Option("--restart", help="Also restart Xray, which disconnects all customers for a moment.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Make config.json and the running Xray match the database. Keys that match already keep their connections."""
    system = remote.server.system
    _approve_sync(remote, restarts=restart, yes=yes)
    with remote.busy("Restarting Xray" if restart else "Synchronizing"):
        answer = system.xray_sync_config(force=True) if restart else system.sync_config()
    remote.show(answer.as_sent(), answer.message)


@asks_server
def fix_reality_keys(remote: Remote, *, yes: Yes = False) -> None:
    """Put the stored REALITY key pair back into config.json and restart Xray."""
    _approve_sync(remote, restarts=True, yes=yes)
    with remote.busy("Restarting Xray"):
        answer = remote.server.system.fix_reality_keys()
    remote.show(answer.as_sent(), answer.message)


@asks_server
def verify_reality(remote: Remote, *, yes: Yes = False) -> None:
    """Compare every REALITY setting with the database, repair differences, and check every target."""
    _approve_sync(remote, restarts=False, yes=yes)
    with remote.busy("Checking every target"):
        answer = remote.server.system.verify_reality()
    warnings = (f"warning: {line}" for line in answer.warnings)
    remote.show(answer.as_sent(), answer.message, *warnings, *affected_keys(answer.targets))


@asks_server
def reset_ports(remote: Remote, *, yes: Yes = False) -> None:
    """Assign all ports again, starting at the lowest. Keys whose port changes need new links; old ones stop working."""
    planned = remote.server.system.ports_plan()
    remote.show_notice(*_ports_plan(planned))
    if planned.changed:
        remote.confirm(f"{len(planned.changed)} links will stop working. Go on?", yes=yes)
    with remote.busy("Assigning ports"):
        answer = remote.server.system.reset_ports()
    remote.show(answer.as_sent(), answer.message, *([_table_of_moves(answer.changed)] if answer.changed else []))


@asks_server
def plan(remote: Remote) -> None:
    """Show what `vpnkeys sync` would do now; change nothing."""
    found = remote.server.system.plan()
    remote.show(found.as_sent(), *_sync_plan(found, restarts=False))


@asks_server
def ports_plan(remote: Remote) -> None:
    """Show which keys would get other ports by ports-reset; change nothing."""
    found = remote.server.system.ports_plan()
    remote.show(found.as_sent(), *_ports_plan(found))


def table_of_targets(targets: tuple[TargetState, ...]) -> RenderableType:
    """Return a table with one row per target."""
    rows = [
        (
            one.server_name,
            one.target,
            "usable" if one.usable else "unfit",
            one.active_keys,
            "; ".join((*one.problems, *one.warnings)),
        )
        for one in targets
    ]
    return table_of(("Server name", "Target", "Status", ">Keys", "What is wrong"), rows)


def affected_keys(targets: tuple[TargetState, ...]) -> Iterator[str]:
    """Yield a line for each key with which nobody gets in because of its target, and then what to do."""
    affected = [(key, one.server_name) for one in targets for key in one.affected_keys]
    yield from (f"Nobody gets in with key {key.key_id} ({key.name}): {name} is unfit." for key, name in affected)
    if affected:
        yield "`vpnkeys keys rotate KEY --sni` gives a key another server name, and a new link."


def _approve_sync(remote: Remote, *, restarts: bool, yes: bool) -> None:
    """Show the plan, and ask for confirmation unless the plan changes nothing."""
    found = remote.server.system.plan()
    remote.show_notice(*_sync_plan(found, restarts=restarts))
    if restarts or not found.in_sync:
        remote.confirm("Go on?", yes=yes)


def _sync_plan(found: SyncPlan, *, restarts: bool) -> Iterator[RenderableType]:
    if found.in_sync:
        yield "Database, config.json and Xray agree."
    else:
        yield table_of_fields(
            [
                ("config.json", "is rewritten" if found.file.rewrite else "stays"),
                ("Unreadable", found.file.problem or None),
                ("Xray", None if found.running else "does not answer"),
                ("Cut", f"open connections on {', '.join(map(str, found.cut))}" if found.cut else None),
            ]
        )
        rows = [(verb, one.tag, one.port, one.key_id) for verb, one in _inbounds(found)]
        if rows:
            yield table_of(("", "Inbound", ">Port", "Key"), rows)
    if restarts:
        yield _RESTART


def _inbounds(found: SyncPlan) -> Iterator[tuple[str, PlannedInbound]]:
    yield from (("remove", one) for one in found.remove)
    yield from (("add", one) for one in found.add)


def _ports_plan(found: PortsPlan) -> Iterator[RenderableType]:
    yield _table_of_moves(found.changed) if found.changed else "Every key keeps its port."


def _table_of_moves(moves: Iterable[Move]) -> RenderableType:
    rows = [(one.key_id, one.name, one.old_port, one.new_port) for one in moves]
    return table_of(("ID", "Name", ">Old port", ">New port"), rows)
