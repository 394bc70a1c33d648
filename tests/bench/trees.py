"""The two trees that are compared: which commit is the base, and its source and Python in a place of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import REPOSITORY

_REQUIREMENTS = "requirements.txt"
_VENV_S, _INSTALL_S = 20, 100


class NoBaseError(RuntimeError):
    """There is nothing to compare with; the text says why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A `src` directory, and the Python that has the packages it needs."""

    name: str
    source: Path
    python: str


@dataclass(frozen=True, slots=True)
class Commits:
    """What the choice of a base depends on; None where git knows no such commit."""

    head: str | None
    merge_base: str | None
    parent: str | None


def choose_base(wanted: str, commits: Commits) -> str:
    """Return the revision to compare with.

    That is the one asked for; else where this branch left origin/main; else, on main itself, the commit before.
    Raises NoBaseError.
    """
    if wanted:
        return wanted
    if commits.merge_base is not None and commits.merge_base != commits.head:
        return commits.merge_base
    if commits.parent is None:
        raise NoBaseError("there is no commit before this one here (a first commit, a shallow clone, or no clone)")
    return commits.parent


def find_commits() -> Commits:
    """Ask git."""
    return Commits(
        head=_ask("rev-parse", "--verify", "HEAD^{commit}"),
        merge_base=_ask("merge-base", "origin/main", "HEAD"),
        parent=_ask("rev-parse", "--verify", "HEAD~1^{commit}"),
    )


def is_alike(base: str) -> bool:
    """Return whether the service of the base is this one to the byte: its source and its packages."""
    done = _git("diff", "--quiet", base, "--", "src", _REQUIREMENTS)
    untracked = _git("status", "--porcelain", "--untracked-files=all", "--", "src").stdout.strip()
    return done.returncode == 0 and not untracked


def base_tree(base: str, directory: Path) -> Tree:
    """Put the base's source there. Raises NoBaseError."""
    commit = _ask("rev-parse", "--verify", f"{base}^{{commit}}")
    if commit is None:
        raise NoBaseError(f"git knows no commit {base!r} here")
    directory.mkdir()
    archive = directory / "base.tar"
    done = _git("archive", f"--output={archive}", commit, "src", _REQUIREMENTS)
    if done.returncode != 0:
        raise NoBaseError(f"{commit[:10]} has no source to measure: {done.stderr.strip()}")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(directory)], check=True)
    return Tree(f"base {commit[:10]}", directory / "src", _python_for(directory))


def this_tree(directory: Path) -> Tree:
    """Copy this tree's source there: beside the base's, on the same disk, and not changed while it is measured."""
    shutil.copytree(REPOSITORY / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return Tree("this tree", directory / "src", sys.executable)


def check_import(tree: Tree, env: Mapping[str, str], directory: Path) -> None:
    """Raise RuntimeError unless a Python in this environment imports the tree's package, not the installed one."""
    command = [tree.python, "-c", "import vpnkeys; print(vpnkeys.__file__)"]
    done = subprocess.run(command, env=dict(env), cwd=directory, capture_output=True, text=True, check=False)
    found = Path(done.stdout.strip()).resolve()
    if done.returncode != 0 or not found.is_relative_to(tree.source.resolve()):
        raise RuntimeError(f"{tree.name}: Python imports {found}, not what is in {tree.source}: {done.stderr.strip()}")


def _python_for(directory: Path) -> str:
    """Return this Python where the base needs the same packages; else one of its own."""
    needed = directory / _REQUIREMENTS
    if needed.read_bytes() == (REPOSITORY / _REQUIREMENTS).read_bytes():
        return sys.executable
    venv = directory / "venv"
    python = str(venv / "bin" / "python")
    # pip starts itself once more with the other Python; `timeout` ends them all.
    pip = ["timeout", str(_INSTALL_S), sys.executable, "-m", "pip", "--python", str(venv), "--quiet"]
    install = ["install", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r", str(needed)]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=_VENV_S)
        subprocess.run([*pip, *install], check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise NoBaseError(f"the packages that it needs cannot be installed: {error}") from error
    return python


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NoBaseError("git is not installed") from error


def _ask(*arguments: str) -> str | None:
    done = _git(*arguments)
    return done.stdout.strip() if done.returncode == 0 else None
