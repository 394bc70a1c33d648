"""`vpnkeys system`: what is, and repairs."""

import typer

from vpnkeys.cli.commands.repairs import (
    fix_reality_keys,
    plan,
    ports_plan,
    reset_ports,
    table_of_targets,
    verify_reality,
)
from vpnkeys.cli.output.tables import table_of, table_of_fields, yes_or_no
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server

app = typer.Typer(name="system", no_args_is_help=True, help="Look at the server, and repair it.", epilog=EXIT_CODES)


@app.command("info")
@asks_server
def info(session: Session) -> None:
    """What answers there, in which version."""
    found = session.server.info()
    fields = [("Answers", found.message), ("API", found.version), ("Program", found.service_version)]
    session.tell(found.as_sent(), table_of_fields(fields))


app.command("plan")(plan)


@app.command("validate")
@asks_server
def validate(session: Session) -> None:
    """Compare the database with config.json and the running Xray, setting by setting; nothing is changed."""
    answer = session.server.system.xray_validate_sync()
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
    session.tell(answer.as_sent(), table_of_fields(fields))


@app.command("config-status")
@asks_server
def config_status(session: Session) -> None:
    """Whether config.json follows the database, and the numbers of keys on both sides."""
    found = session.server.system.config_status()
    fields = [
        ("Agree", yes_or_no(found.synchronized)),
        ("Keys", found.keys_json_count),
        ("In config.json", found.config_json_count),
    ]
    session.tell(found.as_sent(), table_of_fields(fields))


@app.command("xray-config")
@asks_server
def xray_config(session: Session) -> None:
    """What config.json holds, and whether Xray finds it fit."""
    answer = session.server.system.xray_config_status()
    found = answer.config_status
    fields = [
        ("Status", found.status),
        ("Fit for Xray", None if found.config_valid is None else yes_or_no(found.config_valid)),
        ("Inbounds", found.total_inbounds),
        ("Of keys", found.vless_inbounds),
    ]
    session.tell(answer.as_sent(), table_of_fields(fields))


@app.command("inbounds")
@asks_server
def inbounds(session: Session) -> None:
    """The VLESS inbounds of config.json."""
    answer = session.server.system.xray_inbounds()
    rows = [(one.tag, one.port, one.client_count, ", ".join(one.server_names), one.dest) for one in answer.inbounds]
    session.tell(answer.as_sent(), table_of(("Tag", ">Port", ">Clients", "Server names", "Target"), rows))


@app.command("targets")
@asks_server
def targets(session: Session) -> None:
    """How the REALITY targets were when they were last looked at, which is every minute."""
    found = session.server.system.targets()
    session.tell(found.as_sent(), table_of_targets(found.targets))


@app.command("ports")
@asks_server
def ports(session: Session) -> None:
    """Which key has which port, and how many are left."""
    found = session.server.system.ports()
    rows = [(port, one.key_id, one.key_name) for port, one in found.port_assignments.used_ports.items()]
    left = f"{found.available_ports} of {found.max_ports} ports are left ({found.port_range})."
    session.tell(found.as_sent(), table_of((">Port", "ID", "Name"), rows), left)


@app.command("ports-status")
@asks_server
def ports_status(session: Session) -> None:
    """What is wrong with the ports, found on the server's host."""
    answer = session.server.system.ports_status()
    issues = answer.validation.issues
    session.tell(answer.as_sent(), *(issues or ("Nothing is wrong with the ports.",)))


app.command("ports-plan")(ports_plan)
app.command("ports-reset")(reset_ports)
app.command("verify-reality")(verify_reality)
app.command("fix-reality-keys")(fix_reality_keys)


def _agree(value: bool) -> str:
    return "agree" if value else "differ"
