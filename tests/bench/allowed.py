"""The slow-downs that were chosen: `allowed.toml`, a line of reasons for each figure that may be slower."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import REPOSITORY

ALLOWED = Path(__file__).with_name("allowed.toml")

_FIELDS = {"figure": str, "factor": float, "why": str, "until": str}


class AllowedError(ValueError):
    """allowed.toml cannot be used; the text says what to change in it."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A figure that may cost `factor` times what the base costs, until this version is there."""

    figure: str
    factor: float
    why: str
    until: str


def project_version() -> str:
    """Return the version in pyproject.toml."""
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return str(document["project"]["version"])


def read_allowed(text: str, figures: Collection[str], version: str) -> dict[str, float]:
    """Return the factor of each figure that may be slower. Raises AllowedError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AllowedError(f"allowed.toml is not TOML: {error}") from error
    if unknown := sorted(document.keys() - {"allowed"}):
        raise AllowedError(f"allowed.toml: unknown {unknown}; every entry begins with [[allowed]]")
    entries = document.get("allowed", [])
    if not isinstance(entries, list):
        raise AllowedError("allowed.toml: every entry begins with [[allowed]]")
    factors: dict[str, float] = {}
    for raw in entries:
        entry = _entry(raw)
        _check(entry, figures, version)
        if entry.figure in factors:
            raise AllowedError(f"allowed.toml: {entry.figure!r} is there twice; keep one entry")
        factors[entry.figure] = entry.factor
    return factors


def _entry(raw: dict[str, object]) -> Allowed:
    if raw.keys() != _FIELDS.keys():
        raise AllowedError(f"allowed.toml: an entry has {sorted(raw)}; it needs exactly {sorted(_FIELDS)}")
    values = {name: float(value) if type(value) is int else value for name, value in raw.items()}
    for name, kind in _FIELDS.items():
        if not isinstance(values[name], kind):
            raise AllowedError(f"allowed.toml: {name} = {raw[name]!r} is not a {kind.__name__}")
    return Allowed(**values)  # type: ignore[arg-type]  # checked just now


def _check(entry: Allowed, figures: Collection[str], version: str) -> None:
    if entry.figure not in figures:
        raise AllowedError(f"allowed.toml: there is no figure {entry.figure!r}; there are: {', '.join(figures)}")
    if not entry.factor > 1:
        raise AllowedError(f"allowed.toml: {entry.figure!r}: a factor of {entry.factor:g} allows nothing; remove it")
    if not entry.why.strip():
        raise AllowedError(f"allowed.toml: {entry.figure!r}: say in `why` what the time is given for")
    if _numbers(entry.until) <= _numbers(version):
        raise AllowedError(
            f"allowed.toml: {entry.figure!r} was allowed until version {entry.until}, and this is {version}; remove it"
        )


def _numbers(version: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise AllowedError(f"allowed.toml: {version!r} is not a version such as 1.2.0")
    return tuple(map(int, version.split(".")))
