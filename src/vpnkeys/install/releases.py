"""Releases. A release is a directory with its own virtual environment, made once and never changed."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vpnkeys.files import write_atomically
from vpnkeys.install.built import origin_in, record_origin
from vpnkeys.install.host import InstallFailed, Say, run, run_as_server
from vpnkeys.install.layout import Layout, led_to

_RECORD = "release.json"
_NUMBERED = re.compile(r".+-(\d+)")
_OUR_PYTHON_FILES = ("pyproject.toml", "requirements.txt")
_OURS = ("client", ".")
"""The distributions of a source tree, by directory, in the order of their dependencies."""
_HOMES = ("/root/", "/home/", "/run/user/")
"""The directories that ProtectHome= hides from the services."""
# Debian's python3 can lack ensurepip (package python3-venv), without which a virtual environment has no pip.
_ASK_PYTHON = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
_PYTHONS = tuple(
    f"/usr/{place}bin/python3{minor}" for minor in (".14", ".13", ".12", ".11", "") for place in ("", "local/")
)


@dataclass(frozen=True, slots=True)
class Release:
    """A complete release. `digest` identifies the source tree that it was made from."""

    directory: Path
    version: str
    digest: str
    source: str

    @classmethod
    def at(cls, directory: Path) -> Self | None:
        """Return the release in this directory, or None when there is none or it is incomplete."""
        try:
            return cls(directory, **json.loads((directory / _RECORD).read_bytes()))
        except (OSError, TypeError, ValueError):
            return None

    @property
    def python(self) -> Path:
        """The Python interpreter of the release."""
        return self.directory / "venv" / "bin" / "python"

    @property
    def program(self) -> Path:
        """The `vpnkeys` program of the release."""
        return self.directory / "venv" / "bin" / "vpnkeys"

    def units(self) -> Path:
        """Return the directory of its systemd units. Raises InstallFailed when it has none."""
        return _inside(self.directory, "install/units")

    def wrapper(self) -> Path:
        """Return the file of its `vpnkeys` command for users. Raises InstallFailed when it has none."""
        return _inside(self.directory, "install/wrapper.sh")

    def runs(self, layout: Layout) -> bool:
        """Return whether it still starts: an upgrade of the system may have removed its Python."""
        try:
            return run_as_server(self.program, "version", data_dir=layout.data_dir).strip() == self.version
        except InstallFailed:
            return False


def current_release(layout: Layout) -> Release | None:
    """Return the release in use, or None."""
    directory = led_to(layout.current)
    return Release.at(directory) if directory else None


def all_releases(layout: Layout) -> list[Release]:
    """Return all complete releases."""
    found = layout.releases.iterdir() if layout.releases.is_dir() else ()
    return [release for directory in found if (release := Release.at(directory))]


def digest_of(source: Path) -> str:
    """Return a digest of a source tree: of the names and contents of all files that go into a release."""
    digest = hashlib.sha256()
    for path in sorted(_members(source)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(source)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _members(source: Path) -> Iterator[Path]:
    yield from (source / name for name in _OUR_PYTHON_FILES)
    for room in ("src", "client"):
        for path in (source / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def check_source(source: Path) -> str:
    """Return the version of a source tree. Raises InstallFailed when it is not a source tree of vpnkeys."""
    try:
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        name, version = str(project["name"]), str(project["version"])
        is_ours = name == "vpnkeys" and (source / "requirements.txt").is_file() and (source / "src").is_dir()
    except (OSError, KeyError, ValueError):
        is_ours, version = False, ""
    if not is_ours or re.fullmatch(r"[0-9A-Za-z.+!]+", version) is None:
        raise InstallFailed(f"{source} is not a source tree of vpnkeys; give the directory of a clone")
    return version


def next_directory(releases: Path, version: str) -> Path:
    """Return the directory for the next release. Its number is new, so that a path never means two releases."""
    taken = [int(match[1]) for path in releases.glob("*-*") if (match := _NUMBERED.fullmatch(path.name))]
    return releases / f"{version}-{max(taken, default=0) + 1}"


def build(layout: Layout, source: Path, say: Say) -> Release:
    """Make a release from a source tree, and return it. Raises InstallFailed; then nothing of it is left."""
    version, python = check_source(source), find_python()
    _remove_unfinished(layout)
    directory = next_directory(layout.releases, version)
    directory.mkdir(parents=True)
    try:
        say(f"Making release {directory.name} ({python}); this takes a minute or two.")
        return _fill(directory, source, python)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _fill(directory: Path, source: Path, python: Path) -> Release:
    # Taken before the build: if the tree changes meanwhile, the next upgrade sees another tree and builds it.
    digest, origin = digest_of(source), origin_in(source)
    venv = directory / "venv"
    # -I: neither PYTHONPATH nor the user's own packages may get into the release.
    run(python, "-I", "-m", "venv", venv)
    pip = (venv / "bin" / "python", "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    run(*pip, "--require-hashes", "--only-binary=:all:", "--requirement", source / "requirements.txt")
    run(*pip, "--no-index", "--no-deps", "--no-build-isolation", *(source / ours for ours in _OURS))
    record_origin(_inside(directory, "install").parent, origin)
    version = run(venv / "bin" / "vpnkeys", "version").strip()
    record = {"version": version, "digest": digest, "source": str(source)}
    # The record is written last: a directory without one is an unfinished release.
    write_atomically(directory / _RECORD, json.dumps(record).encode() + b"\n")
    return Release(directory, **record)


def _inside(release: Path, part: str) -> Path:
    """Return a directory or file of a release's package. Raises InstallFailed when it is not there."""
    found = sorted((release / "venv" / "lib").glob(f"python*/site-packages/vpnkeys/{part}"))
    if not found:
        raise InstallFailed(f"{release} has no {part}; install another version of vpnkeys")
    return found[-1]


def find_python() -> Path:
    """Return a Python that the server's user can run, so none in a home directory. Raises InstallFailed."""
    # Not sys.executable: we may run in a virtual environment, which may be removed later.
    own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for python in (own, *map(Path, _PYTHONS)):
        if python.is_file() and not str(python.resolve()).startswith(_HOMES) and _is_fit(python):
            return python
    raise InstallFailed(
        "there is no Python 3.11 or later with its venv module outside of home directories, which services cannot "
        "read; install it (Debian, Ubuntu: apt-get install -y python3-venv), then try again"
    )


def _is_fit(python: Path) -> bool:
    return subprocess.run([python, "-I", "-c", _ASK_PYTHON], capture_output=True, check=False).returncode == 0


def _remove_unfinished(layout: Layout) -> None:
    """Remove incomplete releases, which killed installations leave behind."""
    for directory in layout.releases.iterdir() if layout.releases.is_dir() else ():
        if Release.at(directory) is None and directory != led_to(layout.current):
            shutil.rmtree(directory, ignore_errors=True)


def prune(layout: Layout, keep: Iterable[Release]) -> None:
    """Remove all releases but these."""
    kept = {release.directory for release in keep}
    for directory in layout.releases.iterdir():
        if directory not in kept:
            shutil.rmtree(directory, ignore_errors=True)
