"""The options of `vpnkeys keys add` and `vpnkeys keys set`: a key's note, switch, limits and link."""

from typing import Annotated, cast

import typer

from vpnkeys.cli.arguments import expiry_of
from vpnkeys.cli.remote import Remote, wrong_usage
from vpnkeys.client import KeyLimits, NewKeyFields
from vpnkeys.domain.limits import Window
from vpnkeys.domain.reality import Fingerprint

_NONE = "none"
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _size(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    return round(float(number) * _UNITS[unit])


NoteOption = Annotated[str | None, typer.Option("--note", help="A note for yourself; customers do not see it.")]
ActiveOption = Annotated[bool | None, typer.Option("--active/--inactive", help="Switch the key on or off.")]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="TIME",
        help="ISO 8601, UTC unless it has an offset; a date: when that day ends here; or none.",
    ),
]
TrafficOption = Annotated[
    str | None, typer.Option("--traffic-limit", metavar="BYTES", help="Such as 500M or 20G (powers of 1024); or none.")
]
WindowOption = Annotated[
    Window | None,
    typer.Option("--window", help="The period of the traffic limit: usage restarts at zero with each; UTC."),
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
    traffic_limit: str | None,
    window: Window | None,
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
    if traffic_limit is not None:
        fields["traffic_limit_bytes"] = None if traffic_limit == _NONE else _bytes(traffic_limit)
    if window is not None:
        fields["traffic_limit_window"] = window.value
    if devices is not None:
        fields["max_devices"] = None if devices == _NONE else _number("--devices", devices)
    if speed is not None:
        fields["speed_limit_mbps"] = None if speed == _NONE else _number("--speed", speed)
    if utls is not None:
        fields["fingerprint"] = None if utls == _NONE else utls
    return fields


def choices_of(*, uuid: str | None, short_id: str | None, sni: str | None, port: int | None) -> NewKeyFields:
    """Return what was chosen of a new key."""
    chosen = {"uuid": uuid, "short_id": short_id, "sni": sni, "port": port}
    # Only what was given: a server of another version may not know these fields.
    return cast("NewKeyFields", {name: value for name, value in chosen.items() if value is not None})


def _bytes(text: str) -> int:
    try:
        return _size(text)
    except (ValueError, KeyError, OverflowError):
        wrong_usage(f"--traffic-limit {text}: give a number of bytes, such as 500M or 20G, or {_NONE}")


def _number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        wrong_usage(f"{option} {text}: give a number, or {_NONE}")
