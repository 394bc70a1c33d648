"""`vpnkeys tokens`: who may ask this server for what."""

from typing import Annotated

import typer

from vpnkeys.cli.arguments import Yes, is_name, moment_of
from vpnkeys.cli.output.plain import plain
from vpnkeys.cli.output.tables import table_of, table_of_fields, to_minute, to_second, yes_or_no
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server, wrong_usage
from vpnkeys.client import Token, TokenMade
from vpnkeys.domain.token import Scope

app = typer.Typer(name="tokens", no_args_is_help=True, help="Who may ask this server for what.", epilog=EXIT_CODES)

_MOST_OVERLAP_HOURS = 30 * 24

TokenId = Annotated[str, typer.Argument(metavar="ID", help="The token's id.", callback=is_name)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the token and nothing else, for scripts.")]


@app.command("list")
@asks_server
def list_tokens(session: Session) -> None:
    """All tokens, also those that open nothing any more, oldest first."""
    tokens = session.server.tokens.list()
    rows = [
        (one.id, one.name, one.scope, _state(one), *map(to_minute, (one.created_at, one.expires_at, one.last_used_at)))
        for one in tokens
    ]
    titles = ("ID", "Name", "Scope", "Valid", "Made (UTC)", "Expires (UTC)", "Last used (UTC)")
    session.tell([one.as_sent() for one in tokens], table_of(titles, rows))


@app.command("add")
@asks_server
def add(
    session: Session,
    name: Annotated[str, typer.Argument(help="Who will have it.")],
    *,
    scope: Annotated[Scope, typer.Option(help="read: look; keys: also change keys; admin: everything.")],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="ISO 8601; without it, never.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a token and print its text, which cannot be shown again."""
    _refuse_both(session, quiet=quiet)
    expires_at = None if expires is None else moment_of("--expires", expires)
    _tell(session, session.server.tokens.create(name, scope.value, expires_at), quiet=quiet)


@app.command("rotate")
@asks_server
def rotate(
    session: Session,
    token_id: TokenId,
    *,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=_MOST_OVERLAP_HOURS, help="For how long the old one still works.")
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a token's successor, with the same name, scope and expiry; the old one ends."""
    _refuse_both(session, quiet=quiet)
    _tell(session, session.server.tokens.rotate(token_id, overlap_hours), quiet=quiet)


@app.command("revoke")
@asks_server
def revoke(session: Session, token_id: TokenId, *, yes: Yes = False) -> None:
    """End a token, at once."""
    session.confirm(f"Revoke the token {token_id}? Whoever uses it is locked out at once.", yes=yes)
    token = session.server.tokens.revoke(token_id)
    session.tell(token.as_sent(), f"The token {token.id} of {token.name} opens nothing any more.")


@app.command("me")
@asks_server
def me(session: Session) -> None:
    """Who you are to the server, and what you may do."""
    who = session.server.tokens.me()
    session.tell(who.as_sent(), table_of_fields([("Name", who.name), ("ID", who.id), ("Scope", who.scope)]))


def _refuse_both(session: Session, *, quiet: bool) -> None:
    if quiet and session.as_json:
        wrong_usage("give --quiet or --json")


def _tell(session: Session, made: TokenMade, *, quiet: bool) -> None:
    fields = [
        ("Name", made.name),
        ("ID", made.id),
        ("Scope", made.scope),
        ("Expires (UTC)", to_second(made.expires_at) or "never"),
    ]
    if not quiet:
        session.tell(made.as_sent(), table_of_fields(fields), "\nThe token, shown this once:")
    if not session.as_json:
        print(plain(made.token))


def _state(token: Token) -> str:
    return yes_or_no(token.is_valid) if token.revoked_at is None else "revoked"
