"""The services in systemd: writing their units, starting and stopping them, waiting until they answer."""

import time
from contextlib import suppress
from pathlib import Path

from vpnkeys.client import ApiError, Client
from vpnkeys.install.host import InstallFailed, run
from vpnkeys.install.layout import Layout
from vpnkeys.owner import as_owner
from vpnkeys.settings import admin_socket

SERVER, AGENT = "vpnkeys.service", "vpnkeys-agent.service"
"""A host has one of them: that of a server, or that of a node of another one."""
PACKAGED = Path(__file__).with_name("units")

_OURS = "# Written by `vpnkeys install`"
_ANSWER_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.2


def is_node(layout: Layout) -> bool:
    """Return whether this host has become a node, as its data directory says."""
    with as_owner(layout.data_dir):
        return layout.node_file.exists()


def main_unit(layout: Layout) -> str:
    """Return the unit of the server or of the agent, whichever this host has."""
    return AGENT if is_node(layout) else SERVER


def write_units(layout: Layout, packaged: Path) -> bool:
    """Give systemd exactly the units that this host has of these, and return whether anything changed."""
    other = {SERVER, AGENT} - {main_unit(layout)}
    wanted = {path.name: path.read_text(encoding="ascii") for path in packaged.iterdir() if path.name not in other}
    present = {path.name: path.read_text(encoding="ascii") for path in installed_units(layout)}
    for name in present.keys() - wanted.keys():
        _disable(name)
        (layout.units / name).unlink()
    for name, text in wanted.items():
        if present.get(name) != text:
            fresh = layout.units / f".{name}.new"
            fresh.write_text(text, encoding="ascii")
            fresh.chmod(0o644)
            fresh.replace(layout.units / name)
    if wanted != present:
        run("systemctl", "daemon-reload")
    return wanted != present


def installed_units(layout: Layout) -> list[Path]:
    """Return our units in systemd's directory; an operator's own are left out, whatever their names."""
    return sorted(path for path in layout.units.glob("vpnkeys*.*") if path.is_file() and _is_ours(path))


def remove_units(layout: Layout) -> None:
    """Stop our services and remove their units. The server stops first, so that it takes Xray's last counters."""
    units = installed_units(layout)
    for name in (SERVER, AGENT):
        if (layout.units / name) in units:
            run("systemctl", "stop", name)
    for unit in units:
        _disable(unit.name)
        unit.unlink()
    if units:
        run("systemctl", "daemon-reload")
        with suppress(InstallFailed):  # nothing had failed
            run("systemctl", "reset-failed", *(unit.name for unit in units))


def start(layout: Layout) -> None:
    """Start the services that do not run, and enable all of them for the next boot. Raises InstallFailed."""
    # A unit without [Install], such as that of a timer, is started by another unit.
    names = [unit.name for unit in installed_units(layout) if "[Install]" in unit.read_text(encoding="ascii")]
    _systemctl(layout, ["enable", "--now", *names])


def restart_server(layout: Layout) -> None:
    """Restart server or agent, not Xray, and wait until it is ready. Raises InstallFailed with its last log lines."""
    _systemctl(layout, ["restart", main_unit(layout)])


def stop_server(layout: Layout) -> None:
    """Stop server or agent; Xray goes on."""
    run("systemctl", "stop", main_unit(layout))


def wait_for_answer(layout: Layout, version: str, timeout_s: float = _ANSWER_TIMEOUT_S) -> None:
    """Wait until the server answers on its admin socket that it is healthy and has this version.

    An agent has no such socket; systemd knows its version from its signs. Raises InstallFailed when there is no such
    answer within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    look = _problem_of_agent if is_node(layout) else _problem
    while (problem := look(layout, version)) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    if problem:
        raise InstallFailed(f"{problem}; its log:\n{last_log_lines(layout)}")


def _problem_of_agent(_layout: Layout, version: str) -> str:
    shown = run("systemctl", "show", AGENT, "--property=ActiveState,StatusText").splitlines()
    state = dict(line.partition("=")[::2] for line in shown)
    if state.get("ActiveState") != "active":
        return f"the agent is {state.get('ActiveState', 'not known to systemd')}"
    said = state.get("StatusText", "")
    return "" if said.endswith(f" vpnkeys {version}") else f"the agent that runs is not version {version}: {said}"


def _problem(layout: Layout, version: str) -> str:
    try:
        with Client.local(admin_socket(layout.data_dir), timeout=10.0) as server:
            health = server.health()
    except (ApiError, OSError) as error:
        return f"the server does not answer ({error})"
    if health.service_version != version:
        return f"the server that answers is version {health.service_version}, not {version}"
    return "the server answers that it is unhealthy" if health.status == "unhealthy" else ""


def last_log_lines(layout: Layout) -> str:
    """Return the last log lines of server or agent."""
    try:
        return run("journalctl", "--unit", main_unit(layout), "--lines", "15", "--no-pager", "--output", "cat").strip()
    except InstallFailed as error:
        return str(error)


def _systemctl(layout: Layout, command: list[str]) -> None:
    try:
        run("systemctl", *command)
    except InstallFailed as error:
        who = "agent" if is_node(layout) else "server"
        raise InstallFailed(f"the {who} does not start: {error}\nIts log:\n{last_log_lines(layout)}") from error


def _disable(name: str) -> None:
    run("systemctl", "disable", "--now", "--quiet", name)


def _is_ours(unit: Path) -> bool:
    return unit.read_text(encoding="utf-8", errors="replace").startswith(_OURS)
