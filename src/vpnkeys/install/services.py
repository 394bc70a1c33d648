"""The services as systemd sees them: written, started, and asked whether they serve."""

import time
from contextlib import suppress
from pathlib import Path

from vpnkeys.client import ApiError, Client
from vpnkeys.install.host import InstallFailed, run
from vpnkeys.install.layout import Layout
from vpnkeys.settings import admin_socket

SERVER = "vpnkeys.service"
PACKAGED = Path(__file__).with_name("units")

_OURS = "# Written by `vpnkeys install`"
_ANSWER_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.2


def write_units(layout: Layout, packaged: Path) -> bool:
    """Let systemd have these units and no other ones of ours; whether anything changed."""
    wanted = {path.name: path.read_text(encoding="ascii") for path in packaged.iterdir()}
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
    """The units of ours that systemd has; none that an operator wrote, whatever its name."""
    return sorted(path for path in layout.units.glob("vpnkeys*.*") if path.is_file() and _is_ours(path))


def remove_units(layout: Layout) -> None:
    """Stop our services, the server before Xray, and take them from systemd."""
    units = installed_units(layout)
    if (layout.units / SERVER) in units:
        run("systemctl", "stop", SERVER)
    for unit in units:
        _disable(unit.name)
        unit.unlink()
    if units:
        run("systemctl", "daemon-reload")
        with suppress(InstallFailed):  # nothing had failed
            run("systemctl", "reset-failed", *(unit.name for unit in units))


def start(layout: Layout) -> None:
    """Start what does not run, and let all of it come back at the next boot. Raises InstallFailed."""
    names = [unit.name for unit in installed_units(layout) if "[Install]" in unit.read_text(encoding="ascii")]
    _or_with_log(["enable", "--now", *names])


def restart_server() -> None:
    """Restart the server alone, until it says that it is ready. Raises InstallFailed with its last words."""
    _or_with_log(["restart", SERVER])


def stop_server() -> None:
    """Stop the server alone."""
    run("systemctl", "stop", SERVER)


def wait_for_answer(layout: Layout, version: str, timeout_s: float = _ANSWER_TIMEOUT_S) -> None:
    """Until the server says, by the socket for this machine's own commands, that it is well and of this version.

    Raises InstallFailed when it does not in time.
    """
    deadline = time.monotonic() + timeout_s
    while (trouble := _trouble(layout, version)) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    if trouble:
        raise InstallFailed(f"{trouble}; its log:\n{last_words()}")


def _trouble(layout: Layout, version: str) -> str:
    try:
        with Client.local(admin_socket(layout.data_dir), timeout=10.0) as server:
            health = server.health()
    except (ApiError, OSError) as error:
        return f"the server does not answer ({error})"
    if health.service_version != version:
        return f"the server that answers is version {health.service_version}, not {version}"
    return "the server answers that it is unhealthy" if health.status == "unhealthy" else ""


def last_words() -> str:
    """What the server said last."""
    try:
        return run("journalctl", "--unit", SERVER, "--lines", "15", "--no-pager", "--output", "cat").strip()
    except InstallFailed as error:
        return str(error)


def _or_with_log(command: list[str]) -> None:
    try:
        run("systemctl", *command)
    except InstallFailed as error:
        raise InstallFailed(f"the server does not start: {error}\nIts log:\n{last_words()}") from error


def _disable(name: str) -> None:
    run("systemctl", "disable", "--now", "--quiet", name)


def _is_ours(unit: Path) -> bool:
    return unit.read_text(encoding="utf-8", errors="replace").startswith(_OURS)
