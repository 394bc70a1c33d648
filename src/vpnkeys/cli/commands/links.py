"""Links and other addresses for customers: as text to copy, as pictures to photograph."""

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import segno
import typer

from vpnkeys.cli.arguments import KeyId, Qr, Yes
from vpnkeys.cli.output.plain import plain
from vpnkeys.cli.output.tables import key_fields, table_of_fields, to_second
from vpnkeys.cli.remote import Session, asks_server, refused, wrong_usage
from vpnkeys.client import KeyConfig

# Black on white by numbers of the fixed part of xterm's palette: themes leave them alone, and a camera sees the same
# on a dark terminal as on a light one.
_BLACK_ON_WHITE, _RESET = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
_DARKENED = str.maketrans(" ▀▄█", "█▄▀ ")


@asks_server
def show(session: Session, key_id: KeyId, *, qr: Qr = False) -> None:
    """One key and its link."""
    refuse_both(session, qr=qr)
    tell_key(session, session.server.keys.config(key_id), qr=qr)


@asks_server
def link(session: Session, key_id: KeyId) -> None:
    """A key's link and nothing else, for scripts."""
    config = session.server.keys.config(key_id)
    if session.as_json:
        session.tell(config.vless_url)
    else:
        print(plain(config.vless_url))


@asks_server
def qr(
    session: Session,
    key_id: KeyId,
    *,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the picture into this file instead.")] = None,
) -> None:
    """A key's link as a QR code, which a phone reads from a dark screen as from a light one."""
    if svg is not None or session.as_json:
        drawn = session.server.keys.picture(key_id)
        if svg is not None:
            _write(svg, drawn)
        session.tell({"key_id": key_id, "svg": drawn}, f"The link is in {svg}; whoever has the picture has the key.")
        return
    tell_address(session.server.keys.config(key_id).vless_url, qr=True)


@asks_server
def subscribe(  # noqa: PLR0913 - one for each option
    session: Session,
    key_id: KeyId,
    *,
    qr: Qr = False,
    state: Annotated[bool, typer.Option("--show", help="Tell whether there is one; change nothing.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the subscription away instead.")] = False,
    yes: Yes = False,
) -> None:
    """Make a subscription: an address that keeps the customer's client up to date. It takes the last one's place."""
    refuse_both(session, qr=qr)
    if state and revoke:
        wrong_usage("give --show or --revoke")
    keys = session.server.keys
    found = keys.subscription(key_id)
    if state:
        since = f"since {to_second(found.created_at)} UTC" if found.exists else "none"
        session.tell(found.as_sent(), f"Subscription: {since}")
        return
    if found.exists:
        session.confirm("The key has a subscription, whose address will stop working. Go on?", yes=yes)
    if revoke:
        done = keys.revoke_subscription(key_id)
        session.tell(done.as_sent(), done.message)
        return
    made = keys.make_subscription(key_id)
    session.tell(made.as_sent(), "For the customer; it cannot be shown again:")
    if not session.as_json:
        tell_address(made.url, qr=qr)


def refuse_both(session: Session, *, qr: bool) -> None:
    """A picture is no JSON."""
    if qr and session.as_json:
        wrong_usage("give --qr or --json: a picture is no JSON")


def tell_key(session: Session, config: KeyConfig, *, qr: bool) -> None:
    """A key with its link."""
    session.tell(config.as_sent(), table_of_fields(key_fields(config.key)))
    if not session.as_json:
        tell_address(config.vless_url, qr=qr)


def tell_address(address: str, *, qr: bool) -> None:
    """An address alone on its line, whatever the terminal's width, so that it can be copied; after its picture."""
    if qr:
        print()
        print(picture(address, is_coloured=_takes_colours()), end="")
    print(f"\n{plain(address)}")


def picture(address: str, *, is_coloured: bool) -> str:
    """A QR code in half-block characters. Without colours it is for a dark terminal, as a file's reader will know."""
    drawn = io.StringIO()
    segno.make_qr(address, error="l").terminal(drawn, compact=True)
    if not is_coloured:
        return drawn.getvalue()
    *lines, last = drawn.getvalue().translate(_DARKENED).splitlines()
    blank = " " * len(last)  # half a line of the picture's border, and half a line that is not there
    return "".join(f"{_BLACK_ON_WHITE}{line}{_RESET}\n" for line in (*lines, blank))


def _takes_colours() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _write(file: Path, drawn: str) -> None:
    try:
        file.touch(0o600)
        file.write_text(drawn, encoding="utf-8")
    except OSError as error:
        refused(f"{file} cannot be written: {error.strerror}")
