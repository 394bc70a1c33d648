"""The commands that print links and subscriptions, as text or as QR codes, and that test a link."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vpnkeys.cli.arguments import KeyId, KeyIds, Qr, Yes, is_name
from vpnkeys.cli.failures import kept_if_lost, wrong_usage
from vpnkeys.cli.output.files import secret_file
from vpnkeys.cli.output.operations import in_commands
from vpnkeys.cli.output.plain import plain
from vpnkeys.cli.output.qr import NotDrawn, picture
from vpnkeys.cli.output.tables import key_fields, table_of, table_of_fields, yes_or_no
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_minute, to_second
from vpnkeys.client import KeyConfig

_DOES_NOT_WORK, _NOT_DRAWN = 1, 1

_SELF_SIGNED = (
    "Most apps will refuse this URL, and browsers warn, because the server's certificate is self-signed. Give the "
    "server a DNS name and a trusted certificate (`./run --install --domain NAME`, or VPNKEYS_TLS_CERT and "
    "VPNKEYS_TLS_KEY), and make the URL again; or send the link (`vpnkeys keys link KEY`), which works without one."
)

subscriptions = typer.Typer(
    name="subscriptions",
    no_args_is_help=True,
    help="Manage subscriptions of several keys; `keys sub` makes that of one.",
    epilog=EXIT_CODES,
)


@asks_server
def show(remote: Remote, key_id: KeyId, *, qr: Qr = False) -> None:
    """Show one key and its link."""
    refuse_both(remote, qr=qr)
    print_key(remote, remote.server.keys.config(key_id), qr=qr)


@asks_server
def link(remote: Remote, key_id: KeyId) -> None:
    """Print a key's link and nothing else, for scripts."""
    found = remote.server.keys.link(key_id).vless_url
    if remote.as_json:
        remote.show(found)
    else:
        print(plain(found))


@asks_server
def qr(
    remote: Remote,
    key_id: KeyId,
    *,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the QR code into this SVG file instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Draw a key's link as a QR code, which phones can scan on dark and light terminals.

    The exit code is 1 when this terminal cannot show it.
    """
    if svg is not None or remote.as_json:
        drawn = remote.server.keys.picture(key_id)
        if svg is not None:
            with secret_file(svg, force=force) as out:
                out.write(drawn.encode())
        remote.show(
            {"key_id": key_id, "svg": drawn}, f"The QR code is in {svg}; everyone who can scan it can use the key."
        )
        return
    if not print_address(remote.server.keys.config(key_id).vless_url, qr=True, instead=in_a_file(key_id)):
        raise typer.Exit(_NOT_DRAWN)


@asks_server
def subscribe(  # noqa: PLR0913 - one for each option
    remote: Remote,
    key_id: KeyId,
    *,
    qr: Qr = False,
    state: Annotated[bool, typer.Option("--show", help="Show whether there is one; change nothing.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Remove the subscription instead.")] = False,
    yes: Yes = False,
) -> None:
    """Make a subscription: a URL from which the customer's client loads the key's settings. It replaces the last."""
    refuse_both(remote, qr=qr)
    if state and revoke:
        wrong_usage("give --show or --revoke")
    keys = remote.server.keys
    found = keys.subscription(key_id)
    if state:
        since = f"since {to_second(found.created_at)}" if found.exists else "none"
        remote.show(found.as_sent(), f"Subscription: {since}")
        return
    if found.exists:
        remote.confirm("The URL of the key's present subscription will stop working. Go on?", yes=yes)
    if revoke:
        done = keys.revoke_subscription(key_id)
        remote.show(done.as_sent(), done.message)
        return
    made = keys.make_subscription(key_id)
    with kept_if_lost("The subscription is made, and its URL cannot be shown again: this command makes another."):
        remote.show(made.as_sent(), "The subscription's URL for the customer; it cannot be shown again:")
        if not remote.as_json:
            print_address(made.url, qr=qr)
    if made.self_signed:
        remote.show_notice(_SELF_SIGNED)


@subscriptions.command("add")
@asks_server
def share(remote: Remote, key_ids: KeyIds, *, qr: Qr = False) -> None:
    """Make a subscription of several keys: one URL by which a customer's client loads them all."""
    refuse_both(remote, qr=qr)
    made = remote.server.subscriptions.create(key_ids)
    again = f"remove it (`vpnkeys subscriptions rm {made.id}`) and make another"
    with kept_if_lost(f"The subscription is made, and its URL cannot be shown again: {again}."):
        remote.show(made.as_sent(), f"Subscription {made.id}. Its URL for the customer; it cannot be shown again:")
        if not remote.as_json:
            print_address(made.url, qr=qr)
    if made.self_signed:
        remote.show_notice(_SELF_SIGNED)


@subscriptions.command("list")
@asks_server
def list_shared(remote: Remote) -> None:
    """List the subscriptions of several keys, oldest first."""
    found = remote.server.subscriptions.list()
    names = {key.id: key.name for key in remote.server.keys.list()}  # subscriptions have ids only
    rows = [
        (one.id, ", ".join(names.get(key_id, key_id) for key_id in one.key_ids), to_minute(one.created_at))
        for one in found
    ]
    remote.show([one.as_sent() for one in found], table_of(("ID", "Keys", "Made"), rows))


@subscriptions.command("rm")
@asks_server
def revoke_shared(
    remote: Remote,
    subscription_id: Annotated[str, typer.Argument(metavar="ID", help="The subscription's id.", callback=is_name)],
    *,
    yes: Yes = False,
) -> None:
    """Remove a subscription of several keys at once; the keys stay."""
    remote.confirm("The URL of this subscription will stop working. Go on?", yes=yes)
    done = remote.server.subscriptions.revoke(subscription_id)
    remote.show(done.as_sent(), done.message)


def refuse_both(remote: Remote, *, qr: bool) -> None:
    """End the command with code 2 when both --qr and --json are given."""
    if qr and remote.as_json:
        wrong_usage("give --qr or --json, not both: JSON cannot hold the QR code")


def print_key(remote: Remote, config: KeyConfig, *, qr: bool) -> None:
    """Print a key and its link."""
    remote.show(config.as_sent(), table_of_fields(key_fields(config.key)))
    if not remote.as_json:
        print_address(config.vless_url, qr=qr, instead=in_a_file(config.key.id))


def in_a_file(key_id: str) -> str:
    """Return where a key's QR code can be had that a terminal cannot show."""
    return f", or write it into a file (`vpnkeys keys qr {key_id} --svg FILE`)"


def print_address(address: str, *, qr: bool, instead: str = "") -> bool:
    """Print an address on a line of its own, never folded, so that it can be copied; with `qr` its QR code first.

    Return whether that could be drawn; `instead` is said where it could not.
    """
    is_drawn = True
    if qr:
        try:
            print(f"\n{picture(address)}", end="")
        except NotDrawn as why:
            print(f"vpnkeys: {why}{instead}.", file=sys.stderr)
            is_drawn = False
    print(f"\n{plain(address)}")
    return is_drawn


@asks_server
def test(remote: Remote, key_id: KeyId) -> None:
    """Test a key's link with a real client on the server. The exit code is 1 when the link does not work.

    The test begins the time of a key that waits for its first connection.
    """
    with remote.busy("Testing the link"):
        found = remote.server.keys.test_key(key_id)
    fields = [
        ("Works", yes_or_no(found.works)),
        ("Handshake", _milliseconds(found.handshake_ms)),
        ("First byte", _milliseconds(found.first_byte_ms)),
        ("Received", f"{found.bytes_received} bytes" if found.works else None),
        ("Counted", yes_or_no(found.counted) if found.works else None),
        ("Way out", in_commands(found.egress.detail) if found.works else None),
        ("Verdict", f"{in_commands(found.detail)} ({found.code})"),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))
    if not found.works:
        raise typer.Exit(_DOES_NOT_WORK)


def _milliseconds(count: float | None) -> str | None:
    return None if count is None else f"{count:.1f} ms"
