"""Arguments and options shared by several commands."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import typer

from vpnkeys.cli.remote import Remote, wrong_usage
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


KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id or its UUID.", callback=is_name)]
KeyIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The keys' ids or UUIDs.", callback=are_names)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Qr = Annotated[bool, typer.Option("--qr", help="Also draw the link as a QR code for a phone to scan.")]
Since = Annotated[str | None, typer.Option("--from", metavar="TIME", help="ISO 8601; default: a day ago, or 30 days.")]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="ISO 8601; default: now.")]
StepOption = Annotated[Step, typer.Option("--step", help="One line per hour or per day, UTC.")]


def moment_of(option: str, text: str, *, instead: str = "") -> datetime:
    """Return the time in an ISO 8601 text, UTC unless it has an offset. Another text ends the command with code 2."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        wrong_usage(f"{option} {text}: give ISO 8601, such as 2026-12-31T23:59:59Z{instead}")


def expiry_of(remote: Remote, option: str, text: str, *, instead: str = "") -> datetime:
    """Return when something expires; a date alone is the end of that day where the command runs, which is said."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return moment_of(option, text, instead=instead)
    try:
        # A time without a zone is local, with summer time as it is on that day.
        end = datetime.combine(day + timedelta(days=1), time()).astimezone()
    except (OverflowError, ValueError, OSError):
        wrong_usage(f"{option} {text}: give an earlier date{instead}")
    remote.show_notice(f"Expires when {day} ends here ({end.tzname()}): {end.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    return end


def span_of(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the times of --from and --to, None where one is missing."""
    begin = None if since is None else moment_of("--from", since)
    return begin, None if until is None else moment_of("--to", until)
