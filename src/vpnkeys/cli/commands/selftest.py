"""`vpnkeys keys test`: whether a key's link carries traffic."""

import typer

from vpnkeys.cli.arguments import KeyId
from vpnkeys.cli.output.tables import table_of_fields, yes_or_no
from vpnkeys.cli.remote import Session, asks_server

_DOES_NOT_WORK = 1


@asks_server
def test(session: Session, key_id: KeyId) -> None:
    """Try a key's link with a real client, on the server itself. A link that does not work ends this with 1."""
    with session.busy("Trying the link"):
        found = session.server.keys.test_key(key_id)
    fields = [
        ("Works", yes_or_no(found.works)),
        ("Handshake", _milliseconds(found.handshake_ms)),
        ("First byte", _milliseconds(found.first_byte_ms)),
        ("Received", f"{found.bytes_received} bytes" if found.works else None),
        ("Counted", yes_or_no(found.counted) if found.works else None),
        ("Way out", found.egress.detail if found.works else None),
        ("Verdict", f"{found.detail} ({found.code})"),
    ]
    session.tell(found.as_sent(), table_of_fields(fields))
    if not found.works:
        raise typer.Exit(_DOES_NOT_WORK)


def _milliseconds(count: float | None) -> str | None:
    return None if count is None else f"{count:.1f} ms"
