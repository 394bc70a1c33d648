"""`vpnkeys tokens`: managing API tokens and their scopes."""

from typing import Annotated

import typer

from vpnkeys.cli.arguments import Yes, expiry_of, is_name
from vpnkeys.cli.failures import kept_if_lost, wrong_usage
from vpnkeys.cli.output.plain import plain
from vpnkeys.cli.output.tables import table_of, table_of_fields, yes_or_no
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_minute, to_second
from vpnkeys.client import Token, TokenMade
from vpnkeys.domain.token import Scope

app = typer.Typer(name="tokens", no_args_is_help=True, help="Manage API tokens and their scopes.", epilog=EXIT_CODES)

_MOST_OVERLAP_HOURS = 30 * 24
"""The API's own limit."""

TokenId = Annotated[str, typer.Argument(metavar="ID", help="The token's id.", callback=is_name)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the token and nothing else, for scripts.")]


@app.command("list")
@asks_server
def list_tokens(remote: Remote) -> None:
    """List all tokens, revoked and expired ones included, oldest first."""
    tokens = remote.server.tokens.list()
    rows = [
        (one.id, one.name, one.scope, _state(one), *map(to_minute, (one.created_at, one.expires_at, one.last_used_at)))
        for one in tokens
    ]
    titles = ("ID", "Name", "Scope", "Valid", "Made", "Expires", "Last used")
    remote.show([one.as_sent() for one in tokens], table_of(titles, rows))


@app.command("add")
@asks_server
def add(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="The token's name, such as the program that will use it.")],
    *,
    scope: Annotated[Scope, typer.Option(help="read: read only; keys: also change keys; admin: everything.")],
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="ISO 8601; a date: when that day ends here; without it, never."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a token and print its text, which cannot be shown again."""
    _refuse_both(remote, quiet=quiet)
    expires_at = None if expires is None else expiry_of(remote, "--expires", expires)
    _print_token(remote, remote.server.tokens.create(name, scope.value, expires_at), quiet=quiet)


@app.command("rotate")
@asks_server
def rotate(
    remote: Remote,
    token_id: TokenId,
    *,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=_MOST_OVERLAP_HOURS, help="How many hours the old token still works.")
    ] = 0,
    quiet: Quiet = False,
    yes: Yes = False,
) -> None:
    """Replace a token by a new one with the same name, scope and expiry; the old one stops working."""
    _refuse_both(remote, quiet=quiet)
    end = f"in {overlap_hours} hours" if overlap_hours else "at once"
    remote.confirm(f"The present text of token {token_id} will stop working {end}. Go on?", yes=yes)
    _print_token(remote, remote.server.tokens.rotate(token_id, overlap_hours), quiet=quiet)


@app.command("revoke")
@asks_server
def revoke(remote: Remote, token_id: TokenId, *, yes: Yes = False) -> None:
    """Revoke a token at once."""
    remote.confirm(f"Revoke the token {token_id}? Programs that use it lose access at once.", yes=yes)
    token = remote.server.tokens.revoke(token_id)
    remote.show(token.as_sent(), f"The token {token.id} ({token.name}) is revoked.")


@app.command("me")
@asks_server
def me(remote: Remote) -> None:
    """Show the name and scope of the token or API key that you use."""
    who = remote.server.tokens.me()
    remote.show(who.as_sent(), table_of_fields([("Name", who.name), ("ID", who.id), ("Scope", who.scope)]))


def _refuse_both(remote: Remote, *, quiet: bool) -> None:
    if quiet and remote.as_json:
        wrong_usage("give --quiet or --json, not both")


def _print_token(remote: Remote, made: TokenMade, *, quiet: bool) -> None:
    fields = [
        ("Name", made.name),
        ("ID", made.id),
        ("Scope", made.scope),
        ("Expires", to_second(made.expires_at) or "never"),
    ]
    again = f"`vpnkeys tokens rotate {made.id}` makes another"
    with kept_if_lost(f"The token is made, and its text cannot be shown again: {again}."):
        if not quiet:
            remote.show(made.as_sent(), table_of_fields(fields), "\nThe token, shown this once:")
        if not remote.as_json:
            # Printed on a line of its own and never folded, so that it can be copied.
            print(plain(made.token))


def _state(token: Token) -> str:
    return yes_or_no(token.is_valid) if token.revoked_at is None else "revoked"
