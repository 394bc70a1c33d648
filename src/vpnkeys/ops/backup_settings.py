"""The settings in a backup: shown, and taken only where an operator asks for them, without paths and programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import get_args

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from vpnkeys.settings import PREFIX, Settings

_SECRETS = frozenset({f"{PREFIX}API_KEY", f"{PREFIX}DATABASE_URL"})
_HIDDEN = "(secret)"


@dataclass(frozen=True, slots=True)
class SettingsOffer:
    """The settings of a backup that this host lacks or has otherwise.

    `offered` are those that `--with-settings` takes, by name; `refused` are the names of those that nothing takes.
    """

    offered: Mapping[str, str]
    refused: tuple[str, ...]


def is_of_this_host(name: str) -> bool:
    """Return whether a setting names a path, a program or a database, which no file from elsewhere may choose."""
    field = Settings.model_fields.get(name.removeprefix(PREFIX).lower())
    is_path = field is None or Path in {field.annotation, *get_args(field.annotation)}
    return is_path or name in {f"{PREFIX}DATABASE_URL", f"{PREFIX}XRAY_SUPERVISOR"}


def offer_of(present: str, backup: str) -> SettingsOffer:
    """Return what the settings file of a backup offers beside the present one; secrets are hidden."""
    have = _values(present)
    other = {name: value for name, value in _values(backup).items() if have.get(name) != value}
    return SettingsOffer(
        {name: _HIDDEN if name in _SECRETS else value for name, value in other.items() if not is_of_this_host(name)},
        tuple(sorted(name for name in other if is_of_this_host(name))),
    )


def joined(present: str, backup: str) -> str:
    """Return the settings file of a backup, with paths and programs of the present one in place of its own."""
    return _only(backup, of_this_host=False) + _only(present, of_this_host=True)


def _only(text: str, *, of_this_host: bool) -> str:
    """Return the settings of one kind, those of a backup with its comments."""
    kept = [
        binding.original.string.strip()
        for binding in parse_stream(StringIO(text))
        if not binding.error
        and (not of_this_host if binding.key is None else is_of_this_host(binding.key) == of_this_host)
    ]
    # One line for each, and read again: what is no setting of its own must not become one in another place.
    return "".join(f"{line}\n" for line in kept if {is_of_this_host(name) for name in _values(line)} <= {of_this_host})


def _values(text: str) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}
