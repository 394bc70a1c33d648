"""Arguments and options shared by several commands."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from vpnkeys.cli import values
from vpnkeys.cli.failures import wrong_usage
from vpnkeys.cli.remote import Remote
from vpnkeys.domain.traffic import Step


def is_name(value: str) -> str:
    """Return an id that can be part of a URL path. Raises BadParameter for the special segments."""
    # HTTP clients remove these segments from a path, so that the request would be another one.
    if value in {"", ".", ".."}:
        raise typer.BadParameter("this is not an id")
    return value


def are_names(values: list[str]) -> list[str]:
    """Return several ids, each checked by `is_name`."""
    return [is_name(value) for value in values]


KeyId = Annotated[
    str,
    typer.Argument(metavar="KEY", help="The key's port, or (the beginning of) its id, UUID or name.", callback=is_name),
]
KeyIds = Annotated[
    list[str],
    typer.Argument(
        metavar="KEY...", help="The keys' ports, or (beginnings of) ids, UUIDs or names.", callback=are_names
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Qr = Annotated[bool, typer.Option("--qr", help="Also draw the link as a QR code for a phone to scan.")]
Since = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="A date or ISO 8601; default: a day ago, or 30 days.")
]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="A date (its end) or ISO 8601; default: now.")]
StepOption = Annotated[Step, typer.Option("--step", help="One line per hour or per day, UTC.")]


def expiry_of(remote: Remote, option: str, text: str, *, instead: str = "") -> datetime:
    """Return when something expires, and print it, here and in UTC. Another text ends the command with code 2."""
    try:
        end = values.moment_of(text, datetime.now(UTC))
    except (ValueError, OverflowError, OSError):
        wrong_usage(f"{option} {text}: give {values.DATES}{instead}")
    remote.show_notice(f"Expires {values.to_second(end)} ({end.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC)")
    return end


def span_of(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the times of --from and --to, None where one is missing. Another text ends the command with code 2."""

    def read(option: str, text: str | None, *, is_end: bool) -> datetime | None:
        try:
            return None if text is None else values.time_of(text, is_end=is_end)
        except (ValueError, OverflowError, OSError):
            wrong_usage(f"{option} {text}: give a date such as 2026-12-31, or ISO 8601")

    return read("--from", since, is_end=False), read("--to", until, is_end=True)
