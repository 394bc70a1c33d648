"""`vpnkeys system`: showing the state of the server, and repairing it."""

import typer

from vpnkeys.cli.commands.repairs import (
    affected_keys,
    fix_reality_keys,
    plan,
    ports_plan,
    reset_ports,
    table_of_targets,
    verify_reality,
)
from vpnkeys.cli.output.tables import short_bytes, table_of, table_of_fields, yes_or_no
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_second

app = typer.Typer(
    name="system", no_args_is_help=True, help="Show the state of the server, and repair it.", epilog=EXIT_CODES
)


@app.command("info")
@asks_server
def info(remote: Remote) -> None:
    """Show the name and version of the server that answers."""
    found = remote.server.info()
    fields = [("Answers", found.message), ("API", found.version), ("Program", found.service_version)]
    remote.show(found.as_sent(), table_of_fields(fields))


@app.command("overview")
@asks_server
def overview(remote: Remote) -> None:
    """Show the server at a glance: versions, host, and who is online."""
    found = remote.server.system.overview()
    host, online = found.host, found.online
    memory = (
        None
        if host.memory_bytes is None
        else f"{short_bytes(host.memory_free_bytes or 0)} of {short_bytes(host.memory_bytes)} free"
    )
    fields = [
        ("Program", found.version),
        ("Xray", found.xray_version),
        ("Server address", found.server_address),
        ("Up for", f"{found.uptime_seconds // 3600} h {found.uptime_seconds // 60 % 60} min"),
        ("Processor", f"{host.cores} cores" + ("" if host.cpu_percent is None else f", {host.cpu_percent} % busy")),
        ("Memory", None if host.memory_bytes is None else memory),
        ("Disk", f"{short_bytes(host.disk_free_bytes)} of {short_bytes(host.disk_bytes)} free"),
        ("Online", None if online is None else f"{online.keys} keys, {online.devices} devices"),
        ("Certificate expires", to_second(found.certificate_expires_at)),
        ("Newest backup", to_second(found.newest_backup_at) or "none"),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))


app.command("plan")(plan)


@app.command("validate")
@asks_server
def validate(remote: Remote) -> None:
    """Compare the database with config.json and the running Xray, setting by setting; change nothing."""
    answer = remote.server.system.xray_validate_sync()
    found = answer.validation
    runtime = found.runtime
    fields = [
        ("Keys", found.keys_count),
        ("config.json", "agrees" if found.synced else "differs"),
        ("Missing there", ", ".join(found.missing_in_config) or None),
        ("Unknown there", ", ".join(found.extra_in_config) or None),
        ("Short IDs", None if found.short_id_synced is None else _agree(found.short_id_synced)),
        ("Xray", None if runtime is None else _agree(runtime.synced) if runtime.reachable else "does not answer"),
    ]
    remote.show(answer.as_sent(), table_of_fields(fields))


@app.command("config-status")
@asks_server
def config_status(remote: Remote) -> None:
    """Show whether config.json matches the database, with the number of keys in each."""
    found = remote.server.system.config_status()
    fields = [
        ("Agree", yes_or_no(found.synchronized)),
        ("Keys", found.keys_json_count),
        ("In config.json", found.config_json_count),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))


@app.command("xray-config")
@asks_server
def xray_config(remote: Remote) -> None:
    """Show a summary of config.json, and whether Xray accepts it."""
    answer = remote.server.system.xray_config_status()
    found = answer.config_status
    fields = [
        ("Status", found.status),
        ("Valid for Xray", None if found.config_valid is None else yes_or_no(found.config_valid)),
        ("Inbounds", found.total_inbounds),
        ("Of keys", found.vless_inbounds),
    ]
    remote.show(answer.as_sent(), table_of_fields(fields))


@app.command("inbounds")
@asks_server
def inbounds(remote: Remote) -> None:
    """List the VLESS inbounds of config.json."""
    answer = remote.server.system.xray_inbounds()
    rows = [(one.tag, one.port, one.client_count, ", ".join(one.server_names), one.dest) for one in answer.inbounds]
    remote.show(answer.as_sent(), table_of(("Tag", ">Port", ">Clients", "Server names", "Target"), rows))


@app.command("targets")
@asks_server
def targets(remote: Remote) -> None:
    """Show the last check of the REALITY targets; the server repeats it every minute."""
    found = remote.server.system.targets()
    remote.show(found.as_sent(), table_of_targets(found.targets), *affected_keys(found.targets))


@app.command("ports")
@asks_server
def ports(remote: Remote) -> None:
    """Show the port of each key, and how many ports are free."""
    found = remote.server.system.ports()
    rows = [(port, one.key_id, one.key_name) for port, one in found.port_assignments.used_ports.items()]
    left = f"{found.available_ports} of {found.max_ports} ports are free ({found.port_range})."
    remote.show(found.as_sent(), table_of((">Port", "ID", "Name"), rows), left)


@app.command("ports-status")
@asks_server
def ports_status(remote: Remote) -> None:
    """Check the ports on the server's host, and show the problems."""
    answer = remote.server.system.ports_status()
    issues = answer.validation.issues
    remote.show(answer.as_sent(), *(issues or ("Nothing is wrong with the ports.",)))


app.command("ports-plan")(ports_plan)
app.command("ports-reset")(reset_ports)
app.command("verify-reality")(verify_reality)
app.command("fix-reality-keys")(fix_reality_keys)


def _agree(value: bool) -> str:
    return "agree" if value else "differ"
