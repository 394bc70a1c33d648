"""Finds what on this host would get in the way of an installation, before anything is changed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from vpnkeys.domain.reached import HTTPS_PORT
from vpnkeys.install.host import InstallFailed, Say
from vpnkeys.settings import Settings
from vpnkeys.xray.host.listeners import Listener, listeners

_HTTP_PORT = 80
_PANELS = ("x-ui", "3x-ui", "marzban", "marzneshin", "hiddify-panel", "xray", "v2ray", "sing-box")
_UNIT_DIRS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")

Listening = Mapping[int, frozenset[Listener]]


def meet_neighbours(settings: Settings, say: Say, *, has_api: bool = True) -> None:
    """Say what else is here that matters. Raises InstallFailed when another program has a port that is needed."""
    listening = listeners()
    if has_api:
        refuse_taken_ports(settings, listening)
    for line in remarks(settings, listening, _panels()):
        say(line)


def refuse_taken_ports(settings: Settings, listening: Listening) -> None:
    """Raise InstallFailed when the API could not listen, or the authority could not check the domain."""
    port = settings.listen.port
    if who := _named(listening, port):
        raise InstallFailed(
            f"the API's port {port} is taken by {who}. Stop that program, or give the API another port: "
            f"VPNKEYS_LISTEN=[::]:{8443 if port == HTTPS_PORT else port + 1} in {settings.data_dir}/vpnkeys.env"
        )
    if settings.domain and port != HTTPS_PORT and (who := _named(listening, _HTTP_PORT)):
        raise InstallFailed(
            f"port {_HTTP_PORT} is taken by {who}, and there the authority checks that {settings.domain} leads here. "
            "Stop that program, let the API listen on port 443 (VPNKEYS_LISTEN), or leave the certificate to that "
            "program and set VPNKEYS_PUBLIC_URL instead: docs/en/install.md"
        )


def remarks(settings: Settings, listening: Listening, panels: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for other panels, and for programs on ports of the keys' range."""
    taken = [port for port in sorted(listening) if port in settings.port_range]
    if taken:
        who = ", ".join(sorted({str(one) for port in taken for one in listening[port]}))
        yield f"{len(taken)} port(s) of the keys' range {settings.port_range} are taken by {who}; keys get the others."
    if panels:
        yield (
            f"Also on this host: {', '.join(panels)}. It keeps its own ports and its own Xray; should its keys move "
            "here, see docs/en/migration.md."
        )


def _named(listening: Listening, port: int) -> str:
    return ", ".join(sorted(map(str, listening.get(port, ()))))


def _panels() -> tuple[str, ...]:
    """Return the names of other panels and servers that have a unit of systemd here."""
    found = (name for name in _PANELS for directory in _UNIT_DIRS if (Path(directory) / f"{name}.service").exists())
    return tuple(dict.fromkeys(found))
