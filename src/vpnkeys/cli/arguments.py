"""Arguments and options that several commands have."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from vpnkeys.cli.remote import wrong_usage


class Step(StrEnum):
    """What a line of a history is about."""

    HOUR = "hour"
    DAY = "day"


def is_name(value: str) -> str:
    """What can stand in a path of the API."""
    if value in {"", ".", ".."}:
        raise typer.BadParameter("this is no id")
    return value


def are_names(values: list[str]) -> list[str]:
    """The same for several."""
    return [is_name(value) for value in values]


KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id or its UUID.", callback=is_name)]
KeyIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The keys' ids or UUIDs.", callback=are_names)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")]
Qr = Annotated[bool, typer.Option("--qr", help="Draw the link as a QR code, for a phone to read from the screen.")]
Since = Annotated[str | None, typer.Option("--from", metavar="TIME", help="ISO 8601; default: a day ago, or 30 days.")]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="ISO 8601; default: now.")]
StepOption = Annotated[Step, typer.Option("--step", help="A line for each hour or each day, UTC.")]


def moment_of(option: str, text: str, *, instead: str = "") -> datetime:
    """ISO 8601, UTC unless it has an offset. What is none is a wrong command line."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        wrong_usage(f"{option} {text}: give ISO 8601, such as 2026-12-31T23:59:59Z{instead}")


def span_of(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The moments of --from and --to."""
    begin = None if since is None else moment_of("--from", since)
    return begin, None if until is None else moment_of("--to", until)
