"""The shared part of all commands that ask a server: the choice of the server, the output, and the exit codes.

0 done; 1 the server refused, or what was named does not exist; 2 the command line or the settings are wrong; 3 the
server does not answer, or cannot do it now.
"""

import functools
import hashlib
import inspect
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Concatenate, ParamSpec, get_type_hints
from urllib.parse import urlsplit

import typer
from rich.console import Console, RenderableType

from vpnkeys.cli.failures import REFUSED, UNAVAILABLE, Failed, wrong_usage
from vpnkeys.cli.names import SeveralKeys, id_of, ids_of
from vpnkeys.cli.output.operations import in_commands
from vpnkeys.cli.output.plain import Plain, plain, plain_json
from vpnkeys.cli.output.tables import table_of_keys
from vpnkeys.client import ApiError, Client, TooManyRequests, Unavailable
from vpnkeys.owner import NotOurs, listener_pid
from vpnkeys.settings import admin_socket, data_dirs

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused, or no such key; 2 wrong command line or settings; "
    "3 the server does not answer, or cannot do it now."
)

_HTTPS, _PATIENCE_S = 443, 10.0
_CONNECT_TIMEOUT_S = 5.0
_PIPE_WIDTH = 200
"""Without a terminal rich would fold tables at 80 columns, which breaks scripts that read lines."""

P = ParamSpec("P")


def _options(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON instead of a table.")] = False,
    url: Annotated[str, typer.Option(envvar="VPNKEYS_URL", hidden=True)] = "",
    api_key: Annotated[str, typer.Option(envvar="VPNKEYS_API_KEY", hidden=True)] = "",
    fingerprint: Annotated[str, typer.Option(envvar="VPNKEYS_FINGERPRINT", hidden=True)] = "",
    ca: Annotated[Path | None, typer.Option(envvar="VPNKEYS_CA", hidden=True)] = None,
) -> tuple[bool, str, str, str, Path | None]:
    """Return the options that every such command has. Typer reads them from this signature.

    `vpnkeys help connect` explains those that are hidden: in each command's help they would be most of it.
    """
    # Without white space around: a file from which an environment was read may end its lines by carriage returns.
    return as_json, url.strip(), api_key.strip(), fingerprint.strip(), None if ca is None else Path(str(ca).strip())


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
    """Return a Typer command with the options for the server. It calls `command`, and turns errors into exit codes.

    The parameters `key_id` and `key_ids` get the ids of the keys that a person named in any way (`cli/names.py`).
    """
    options = inspect.signature(_options, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json, url, api_key, fingerprint, ca = _options(**{name: kwargs.pop(name) for name in options})  # type: ignore[arg-type]
        with _errors_reported(url, as_json=as_json), _connect(url, api_key, fingerprint, ca) as server:
            if (key := kwargs.get("key_id")) is not None:
                kwargs["key_id"] = id_of(server, str(key))
            if isinstance(keys := kwargs.get("key_ids"), list):
                kwargs["key_ids"] = ids_of(server, keys)
            command(Remote(server, as_json), *args, **kwargs)

    # Typer reads the parameters from the signature, and their types from the annotations.
    run.__signature__ = inspect.Signature([*own, *options.values()])  # type: ignore[attr-defined]
    hints = {**get_type_hints(command, include_extras=True), **get_type_hints(_options, include_extras=True)}
    run.__annotations__ = {parameter.name: hints[parameter.name] for parameter in [*own, *options.values()]}
    run.__doc__ = f"{inspect.getdoc(command)}\n\n{EXIT_CODES}\n\nHow it reaches the server: `vpnkeys help connect`."
    return run


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
                listener_pid(socket, _CONNECT_TIMEOUT_S)
                return Client.local(socket)
        except PermissionError:
            wrong_usage(
                f"only the server's user and root can open {socket}; run as one of them, or give --url and --api-key"
            )
        except NotOurs as error:
            wrong_usage(str(error))
        except OSError:
            return Client.local(socket)  # which says that it does not answer
    where = " or ".join(str(socket.parent.parent) for socket in sockets)
    detail = f"no server runs on {where}; start one (vpnkeys serve), or give --url"
    raise Failed(detail, UNAVAILABLE, code="unreachable")


@contextmanager
def _errors_reported(url: str, *, as_json: bool) -> Iterator[None]:
    """End the command for an error of the API in the block, with its exit code."""
    try:
        yield
    except ApiError as error:
        detail = f"{in_commands(error.detail)}{_how_to_trust(url) if error.code == 'untrusted_certificate' else ''}"
        if isinstance(error, SeveralKeys) and not as_json:
            console_for(sys.stderr).print(Plain(table_of_keys(error.keys)))
        later = isinstance(error, (Unavailable, TooManyRequests))
        raise Failed(
            detail,
            UNAVAILABLE if later else REFUSED,
            code=error.code,
            status=error.status,
            retry_after_s=error.retry_after_s,
        ) from error


def _how_to_trust(url: str) -> str:
    """Return the fingerprint of the certificate that the server shows, and how to trust it; empty without one."""
    parts = urlsplit(url)
    try:
        shown = ssl.get_server_certificate((parts.hostname or "", parts.port or _HTTPS), timeout=_PATIENCE_S)
    except (OSError, ValueError):
        return ""
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()
    pairs = ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()
    return (
        f"\nThe certificate that it shows has this SHA-256 fingerprint:\n  {pairs}\n"
        "Compare it with the one that the server printed when it was installed, and prints at each start "
        "(`journalctl -u vpnkeys | grep SHA-256`). If they are the same, "
        f"trust it:\n  export VPNKEYS_FINGERPRINT={pairs}\nIf not, another server answers: send it no API key."
    )
