"""Keeps copies of a config.json that is about to be replaced, so that no work of an operator is lost."""

from enum import StrEnum
from pathlib import Path
from typing import Final

from vpnkeys.files import write_atomically

KEPT: Final = 5
"""How many copies of one kind are kept; the oldest one goes."""


class Aside(StrEnum):
    """Why a copy was made: the end of its name."""

    BROKEN = "broken"
    REFUSED = "refused"
    WITH_COMMENTS = "with-comments"


def keep_aside(config: Path, why: Aside, content: bytes) -> Path:
    """Keep the content as `config.json.WHY`, older copies as `config.json.WHY.1` and so on; return the path.

    The same content again makes no further copy. Raises OSError.
    """
    newest = _names(config, why)[0]
    if newest.is_file() and newest.read_bytes() == content:
        return newest
    write_atomically(_vacated(config, why), content)
    return newest


def move_aside(config: Path, why: Aside) -> Path:
    """Move what cannot be replaced as a file, such as a directory, to such a name; return the path. Raises OSError."""
    return config.rename(_vacated(config, why))


def _vacated(config: Path, why: Aside) -> Path:
    """Return the name of the newest copy, after moving each copy to the next name."""
    names = _names(config, why)
    for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
        if newer.exists():
            newer.replace(older)
    return names[0]


def kept_aside(config: Path) -> tuple[str, ...]:
    """Return the names of the newest copies that are there."""
    newest = (_names(config, why)[0] for why in Aside)
    return tuple(path.name for path in newest if path.exists())


def _names(config: Path, why: Aside) -> list[Path]:
    name = f"{config.name}.{why}"
    return [config.with_name(name), *(config.with_name(f"{name}.{number}") for number in range(1, KEPT))]
