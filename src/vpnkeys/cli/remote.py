"""The shared part of all commands that ask a server: the choice of the server, the output, and the exit codes.

0 done; 1 the server refused, or what was named does not exist; 2 the command line or the settings are wrong; 3 the
server does not answer, or cannot do it now.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Concatenate, NoReturn, ParamSpec, get_type_hints

import typer
from rich.console import Console, RenderableType

from vpnkeys.cli.output.plain import Plain, plain, plain_json
from vpnkeys.client import ApiError, Client, TooManyRequests, Unavailable
from vpnkeys.settings import admin_socket, data_dirs

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused, or no such key; 2 wrong command line or settings; "
    "3 the server does not answer, or cannot do it now."
)

_REFUSED, _USAGE, _UNAVAILABLE = 1, 2, 3
_PIPE_WIDTH = 200
"""Without a terminal rich would fold tables at 80 columns, which breaks scripts that read lines."""

P = ParamSpec("P")


def _options(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON instead of a table.")] = False,
    url: Annotated[
        str,
        typer.Option(
            envvar="VPNKEYS_URL",
            help="The server, such as https://203.0.113.10:8000. Without it: the one that runs on this machine, "
            "by the Unix socket in its data directory (VPNKEYS_DATA_DIR), which needs no API key.",
        ),
    ] = "",
    api_key: Annotated[
        str, typer.Option(envvar="VPNKEYS_API_KEY", help="The API key; goes with --url.", show_envvar=True)
    ] = "",
    fingerprint: Annotated[
        str,
        typer.Option(envvar="VPNKEYS_FINGERPRINT", help="SHA-256 of the server's certificate, as it prints it."),
    ] = "",
    ca: Annotated[
        Path | None, typer.Option(envvar="VPNKEYS_CA", help="PEM file of certificates to trust instead.")
    ] = None,
) -> tuple[bool, str, str, str, Path | None]:
    """Return the options that every such command has. Typer reads them from this signature."""
    return as_json, url, api_key, fingerprint, ca


@dataclass(frozen=True, slots=True)
class Remote:
    """The server that a command asks, and the output for its user."""

    server: Client
    as_json: bool

    def show(self, value: Any, *for_people: RenderableType) -> None:  # noqa: ANN401 - JSON
        """Print the answer: `value` as JSON with --json, else the parts for people."""
        if self.as_json:
            print(plain_json(value))
            return
        console = console_for(sys.stdout)
        for part in for_people:
            console.print(Plain(part))

    def show_notice(self, *parts: RenderableType) -> None:
        """Print to standard error what a person should know before confirming; nothing for programs."""
        if not self.as_json or can_ask():
            console = console_for(sys.stderr)
            for part in parts:
                console.print(Plain(part))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask for confirmation on a terminal, unless --yes was given; "no" ends the command with code 1."""
        if not yes and can_ask():
            typer.confirm(plain(question), abort=True, err=True)

    def busy(self, doing: str) -> AbstractContextManager[object]:
        """Show a progress sign on a terminal during the block."""
        # On standard error, so that it does not get into the output of a pipe.
        return Console(stderr=True).status(plain(doing))


def can_ask() -> bool:
    """Return whether a person can answer questions: standard input and standard error are terminals."""
    # Standard output does not matter: it may be a pipe while a person answers.
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def console_for(file: IO[str]) -> Console:
    """Return a console that interprets no markup in text. Without a terminal its lines are long, not folded."""
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(file=file, highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH)


def asks_server(command: Callable[Concatenate[Remote, P], None]) -> Callable[..., None]:
    """Return a Typer command with the options for the server. It calls `command`, and turns errors into exit codes."""
    options = inspect.signature(_options, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json, url, api_key, fingerprint, ca = _options(**{name: kwargs.pop(name) for name in options})  # type: ignore[arg-type]
        with _errors_reported(as_json=as_json), _connect(url, api_key, fingerprint, ca) as server:
            command(Remote(server, as_json), *args, **kwargs)

    # Typer reads the parameters from the signature, and their types from the annotations.
    run.__signature__ = inspect.Signature([*own, *options.values()])  # type: ignore[attr-defined]
    hints = {**get_type_hints(command, include_extras=True), **get_type_hints(_options, include_extras=True)}
    run.__annotations__ = {parameter.name: hints[parameter.name] for parameter in [*own, *options.values()]}
    run.__doc__ = f"{inspect.getdoc(command)}\n\n{EXIT_CODES}"
    return run


def wrong_usage(message: str) -> NoReturn:
    """Print the message and end with code 2: the command line or the settings are wrong."""
    print(f"vpnkeys: {plain(message)}", file=sys.stderr)
    raise typer.Exit(_USAGE)


def refused(message: str) -> NoReturn:
    """Print the message and end with code 1: nothing was done, and a repeat would not help."""
    print(f"vpnkeys: {plain(message)}", file=sys.stderr)
    raise typer.Exit(_REFUSED)


def _connect(url: str, api_key: str, fingerprint: str, ca: Path | None) -> Client:
    if not url:
        return _local()
    if not api_key:
        wrong_usage("--url needs an API key: set VPNKEYS_API_KEY, or give --api-key")
    try:
        return Client(url, api_key, fingerprint=fingerprint or None, verify=ca or True)
    except (ValueError, OSError) as error:
        wrong_usage(str(error))


def _local() -> Client:
    """Return a client of the server on this machine, or end the command when none runs."""
    sockets = [admin_socket(directory) for directory in data_dirs()]
    for socket in sockets:
        try:
            if socket.is_socket():
                return Client.local(socket)
        except PermissionError:
            wrong_usage(
                f"only the server's user and root can open {socket}; run as one of them, or give --url and --api-key"
            )
    where = " or ".join(str(socket.parent.parent) for socket in sockets)
    print(f"vpnkeys: no server runs on {where}; start one (vpnkeys serve), or give --url", file=sys.stderr)
    raise typer.Exit(_UNAVAILABLE)


@contextmanager
def _errors_reported(*, as_json: bool) -> Iterator[None]:
    """Print the API's errors in the block to standard error, and end the command with their exit codes."""
    try:
        yield
    except ApiError as error:
        if as_json:
            fields = {name: getattr(error, name) for name in ("status", "code", "detail", "retry_after_s")}
            # In one line, because other lines may follow on standard error.
            print(plain_json({"error": fields}, indent=None), file=sys.stderr)
        else:
            print(f"vpnkeys: {plain(error.detail)}", file=sys.stderr)
        later = isinstance(error, (Unavailable, TooManyRequests))
        raise typer.Exit(_UNAVAILABLE if later else _REFUSED) from error
