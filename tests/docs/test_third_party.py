"""Every file of others in the tree is named in THIRD_PARTY.md, with its licence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.process import REPOSITORY

_LISTED = re.compile(r"^\| `(?P<file>[^`]+)` \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
_DIGEST = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)

# Nobody writes such lines by hand: what has them was made by a bundler, so it came from elsewhere.
_LONG_LINE = 2_000
_OTHERS_ENDINGS = {".woff2", ".woff", ".ttf", ".otf", ".whl", ".jar", ".wasm", ".so"}
_CLAIM = re.compile(r"@license|\(c\) \d{4}|copyright \d{4}", re.IGNORECASE)
_OURS = {"LICENSE", "THIRD_PARTY.md", "tests/docs/test_third_party.py"}


def tracked() -> list[str]:
    """Return the path of every file that git tracks."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def is_others(name: str, path: Path) -> bool:
    """Return whether a file was made by others, by its place, ending, long lines, or its own claim."""
    if name in _OURS or name.endswith(("requirements.txt", "requirements-dev.txt", "package-lock.json")):
        return False
    if path.suffix in _OTHERS_ENDINGS or "LICENSE" in path.name or "NOTICE" in path.name:
        return True
    if path.suffix not in {".js", ".css", ".html", ".py", ".ts", ".svg", ".sh"} or path.name.endswith("_pb2.py"):
        return False
    text = path.read_text(encoding="utf-8")
    return bool(_CLAIM.search(text)) or any(len(line) > _LONG_LINE for line in text.splitlines())


@pytest.fixture(scope="module")
def listed() -> set[str]:
    """Return the files that THIRD_PARTY.md names."""
    return {match["file"] for match in _LISTED.finditer((REPOSITORY / "THIRD_PARTY.md").read_text(encoding="utf-8"))}


def test_every_file_of_others_is_listed(listed: set[str]) -> None:
    """Whatever looks like somebody else's work has a row."""
    found = {name for name in tracked() if is_others(name, REPOSITORY / name)}
    assert found - listed == set()
    assert len(found) > 5  # the rules still recognise what is there


def test_every_listed_file_is_there_and_has_a_digest(listed: set[str]) -> None:
    """No row outlives its file, and the README beside each file has its digest."""
    for name in listed:
        path = REPOSITORY / name
        assert path.is_file(), name
        assert path.name in _DIGEST.findall((path.parent / "README.md").read_text(encoding="utf-8")), name
