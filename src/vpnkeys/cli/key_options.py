"""The options of `vpnkeys keys add` and `vpnkeys keys set`: a key's note, switch, limits and link."""

from collections.abc import Callable
from typing import Annotated, cast

import typer

from vpnkeys.cli.arguments import expiry_of
from vpnkeys.cli.failures import wrong_usage
from vpnkeys.cli.remote import Remote
from vpnkeys.cli.values import SIZES, SPANS, seconds_of, size_of
from vpnkeys.client import KeyLimits, NewKeyFields
from vpnkeys.domain.limits import Window
from vpnkeys.domain.reality import Fingerprint

_NONE = "none"

NoteOption = Annotated[str | None, typer.Option("--note", help="A note for yourself; customers do not see it.")]
ActiveOption = Annotated[bool | None, typer.Option("--active/--inactive", help="Switch the key on or off.")]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="TIME",
        help="30d, +1month; 2026-12-31: when that day ends here; ISO 8601, UTC unless it has an offset; or none.",
    ),
]
AfterOption = Annotated[
    str | None,
    typer.Option(
        "--expires-after",
        metavar="SPAN",
        help="Such as 30d, from the first connection on, instead of --expires; or none.",
    ),
]
TrafficOption = Annotated[
    str | None,
    typer.Option("--traffic-limit", metavar="BYTES", help="Such as 50GB or 1.5TB (1 GB is 10^9 bytes); or none."),
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="PERIOD",
        help="The period of the traffic limit, UTC: total, day, week, month, month@15 (from the 15th), 30d (rolling).",
    ),
]
DevicesOption = Annotated[
    str | None,
    typer.Option("--devices", metavar="NUMBER", help="How many devices may be online at once; or none."),
]
SpeedOption = Annotated[
    str | None, typer.Option("--speed", metavar="MBIT/S", help="The speed limit in each direction; or none.")
]
# `--fingerprint` is that of the server's certificate, as in all commands.
UtlsOption = Annotated[
    str | None,
    typer.Option(
        "--utls-fingerprint",
        metavar="BROWSER",
        help="The browser that the customer's client imitates: "
        f"{', '.join(Fingerprint)}; none: as VPNKEYS_UTLS_FINGERPRINT says.",
    ),
]
UuidOption = Annotated[str | None, typer.Option("--uuid", help="The key's UUID; default: a random one.")]
ShortIdOption = Annotated[
    str | None, typer.Option("--short-id", metavar="HEX", help="Its REALITY short id; default: a random one.")
]
SniOption = Annotated[
    str | None, typer.Option("--sni", metavar="NAME", help="Its server name, one of the server's; default: any.")
]
PortOption = Annotated[
    int | None, typer.Option("--port", help="Its port, in the server's range; default: the lowest free one.")
]

NodeOption = Annotated[
    str | None, typer.Option("--node", help="The node on which it lives; default: the best of the default group.")
]
GroupOption = Annotated[str | None, typer.Option("--group", help="Any node of this group, in place of --node.")]

OtherPortOption = Annotated[
    int | None,
    typer.Option("--port", help="Another port, in the server's range, 0: the lowest free one. The link changes."),
]


def limits_of(  # noqa: PLR0913 - one for each option
    remote: Remote,
    *,
    note: str | None,
    active: bool | None,
    expires: str | None,
    expires_after: str | None,
    traffic_limit: str | None,
    window: str | None,
    devices: str | None,
    speed: str | None,
    utls: str | None,
) -> KeyLimits:
    """Return the limits that were given. A text that is no value ends the command with code 2."""
    fields: KeyLimits = {}
    if note is not None:
        fields["note"] = note
    if active is not None:
        fields["is_active"] = active
    if expires is not None:
        fields["expires_at"] = (
            None if expires == _NONE else expiry_of(remote, "--expires", expires, instead=f", or {_NONE}")
        )
    if expires_after is not None:
        fields["expires_after_s"] = _read("--expires-after", expires_after, seconds_of, SPANS)
    if traffic_limit is not None:
        fields["traffic_limit_bytes"] = _read("--traffic-limit", traffic_limit, size_of, SIZES)
    if window is not None:
        fields["traffic_limit_window"] = _window(window)
    if devices is not None:
        fields["max_devices"] = _read("--devices", devices, int, "a number")
    if speed is not None:
        fields["speed_limit_mbps"] = _read("--speed", speed, int, "a number of Mbit/s")
    if utls is not None:
        fields["fingerprint"] = None if utls == _NONE else utls
    return fields


def choices_of(**chosen: str | int | None) -> NewKeyFields:
    """Return what was chosen of a new key."""
    # Only what was given: a server of another version may not know these fields.
    return cast("NewKeyFields", {name: value for name, value in chosen.items() if value is not None})


def _read(option: str, text: str, read: Callable[[str], int], forms: str) -> int | None:
    if text == _NONE:
        return None
    try:
        return read(text)
    except (ValueError, OverflowError):
        wrong_usage(f"{option} {text}: give {forms}, or {_NONE}")


def _window(text: str) -> Window:
    try:
        return Window(text)
    except ValueError as error:
        wrong_usage(f"--window: {error}")
