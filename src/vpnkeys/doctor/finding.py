"""Verdicts and findings: the results of checks."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """A level says how bad a finding is: `warn` may cause trouble later, `fail` harms customers or operators now."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Verdict(NamedTuple):
    """A verdict is the result of one `judge`. `mend` is the command line that repairs it; empty where none can."""

    level: Level
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding is a verdict with the name of its check."""

    check: str
    level: Level
    message: str
    mend: str = ""


def ok(message: str) -> Verdict:
    """Return the verdict that all is right."""
    return Verdict(Level.OK, message)


def warn(message: str, mend: str = "") -> Verdict:
    """Return the verdict that something may cause trouble later."""
    return Verdict(Level.WARN, message, mend)


def fail(message: str, mend: str = "") -> Verdict:
    """Return the verdict that something does not work now."""
    return Verdict(Level.FAIL, message, mend)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level of all findings; `ok` when there are none."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAIL, Level.WARN) if level in levels), Level.OK)
