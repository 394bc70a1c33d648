"""`vpnkeys keys test`: tests whether a key's link carries traffic."""

import typer

from vpnkeys.cli.arguments import KeyId
from vpnkeys.cli.output.tables import table_of_fields, yes_or_no
from vpnkeys.cli.remote import Remote, asks_server

_DOES_NOT_WORK = 1


@asks_server
def test(remote: Remote, key_id: KeyId) -> None:
    """Test a key's link with a real client on the server. The exit code is 1 when the link does not work."""
    with remote.busy("Testing the link"):
        found = remote.server.keys.test_key(key_id)
    fields = [
        ("Works", yes_or_no(found.works)),
        ("Handshake", _milliseconds(found.handshake_ms)),
        ("First byte", _milliseconds(found.first_byte_ms)),
        ("Received", f"{found.bytes_received} bytes" if found.works else None),
        ("Counted", yes_or_no(found.counted) if found.works else None),
        ("Way out", found.egress.detail if found.works else None),
        ("Verdict", f"{found.detail} ({found.code})"),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))
    if not found.works:
        raise typer.Exit(_DOES_NOT_WORK)


def _milliseconds(count: float | None) -> str | None:
    return None if count is None else f"{count:.1f} ms"
