"""What a copy of vpnkeys was made of: a checkout, a release of the installer, or a package, and its git revision."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import vpnkeys

RECORD = "built.json"
"""The file beside the modules that names the origin of a release or package, which no git can tell."""

_GIT_S = 10.0
_RELEASE_LEVEL = 4  # a release has its package in venv/lib/pythonX.Y/site-packages/

Kind = Literal["checkout", "release", "package"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The source tree of a copy, its git revision, and whether files of it differed. What nobody knows is empty."""

    source: str = ""
    revision: str = ""
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """Where a copy of vpnkeys is, and its origin."""

    kind: Kind
    place: Path
    origin: Origin


def built_from(package: Path | None = None) -> Built:
    """Return the origin of a package directory of vpnkeys; by default, of the one that runs."""
    package = (package or Path(vpnkeys.__file__).parent).resolve()
    recorded = _recorded(package / RECORD)
    tree = package.parents[1]
    if package.parent.name == "src" and (tree / "pyproject.toml").is_file():
        return Built("checkout", tree, recorded or origin_in(tree))
    for directory in package.parents[_RELEASE_LEVEL : _RELEASE_LEVEL + 1]:
        # Its record is only root's to read, but everybody sees that there is one.
        if (directory / "release.json").is_file():
            return Built("release", directory, recorded or Origin())
    return Built("package", package, recorded or Origin())


def origin_in(tree: Path) -> Origin:
    """Return the origin of what is made from a source tree; no revision where it is no checkout, or there is no git."""
    if packed := _recorded(tree / "src" / "vpnkeys" / RECORD):
        return Origin(str(tree), packed.revision, packed.is_changed)
    # A tree without a repository of its own may lie in another one, whose revision says nothing of it.
    if not (tree / ".git").exists():
        return Origin(str(tree))
    try:
        revision = _git(tree, "rev-parse", "HEAD")
        return Origin(str(tree), revision, is_changed=bool(_git(tree, "status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return Origin(str(tree))


def record_origin(package: Path, origin: Origin) -> None:
    """Write the origin of an installed package beside its modules, where every user reads it."""
    file = package / RECORD
    file.write_text(json.dumps(asdict(origin)) + "\n", encoding="utf-8")
    file.chmod(0o644)


def _recorded(file: Path) -> Origin | None:
    try:
        return Origin(**json.loads(file.read_bytes()))
    except (OSError, TypeError, ValueError):
        return None


def _git(tree: Path, *arguments: str) -> str:
    # Git refuses the tree of another user by default, and root installs from such trees.
    command = ["git", "-C", str(tree), "-c", f"safe.directory={tree}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)
    return done.stdout.strip()
