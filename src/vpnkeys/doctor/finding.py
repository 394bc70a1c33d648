"""What a check finds."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How bad it is: `warn` may hurt some day, `fail` hurts customers or operators now."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Verdict(NamedTuple):
    """What a judge says. `mend` is a command line that puts it right, or empty where no command can."""

    level: Level
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, and the check that it is of."""

    check: str
    level: Level
    message: str
    mend: str = ""


def ok(message: str) -> Verdict:
    """As it should be."""
    return Verdict(Level.OK, message)


def warn(message: str, mend: str = "") -> Verdict:
    """It may hurt some day."""
    return Verdict(Level.WARN, message, mend)


def fail(message: str, mend: str = "") -> Verdict:
    """It hurts now."""
    return Verdict(Level.FAIL, message, mend)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level of all; without any, `ok`."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAIL, Level.WARN) if level in levels), Level.OK)
