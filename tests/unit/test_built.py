"""What a copy of vpnkeys says of its origin: a checkout by git, a release and a package by a record beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vpnkeys.install.built import Built, Origin, built_from, origin_in, record_origin


def _git(tree: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    done = subprocess.run(["git", "-C", tree, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree that is no checkout."""
    tree = tmp_path / "tree"
    (tree / "src" / "vpnkeys").mkdir(parents=True)
    (tree / "pyproject.toml").write_text("")
    return tree


@pytest.fixture
def commit(tree: Path) -> str:
    """The revision of the tree, which is a checkout from here on."""
    _git(tree, "init", "--quiet")
    _git(tree, "add", ".")
    _git(tree, "commit", "--quiet", "--message", "All")
    return _git(tree, "rev-parse", "HEAD")


def test_a_checkout_is_asked(tree: Path, commit: str) -> None:
    """Its revision is known; files that differ are told, files that git does not know are not."""
    package = tree / "src" / "vpnkeys"
    (tree / "note.txt").write_text("mine")
    assert built_from(package) == Built("checkout", tree, Origin(str(tree), commit))
    (tree / "pyproject.toml").write_text("# changed")
    assert built_from(package) == Built("checkout", tree, Origin(str(tree), commit, is_changed=True))


def test_a_tree_without_its_own_repository_has_no_revision(tree: Path, commit: str) -> None:
    """One that was unpacked into another checkout is not of that one's revision."""
    inner = tree / "unpacked"
    (inner / "src" / "vpnkeys").mkdir(parents=True)
    (inner / "pyproject.toml").write_text("")
    assert commit
    assert built_from(inner / "src" / "vpnkeys") == Built("checkout", inner, Origin(str(inner)))


def test_without_git_there_is_no_revision(tree: Path, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host may have the tree and not the program."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit
    assert origin_in(tree) == Origin(str(tree))


def test_a_source_package_knows_the_revision_that_it_was_packed_from(tree: Path) -> None:
    """It is unpacked where no git can be asked."""
    record_origin(tree / "src" / "vpnkeys", Origin("", "abc123"))
    assert origin_in(tree) == Origin(str(tree), "abc123")


def test_a_release_and_a_package_have_a_record(tmp_path: Path) -> None:
    """Who installed it wrote the record, and every user can read it; without one the origin is unknown."""
    release = tmp_path / "releases" / "1.2.3-4"
    package = release / "venv/lib/python3.11/site-packages/vpnkeys"
    package.mkdir(parents=True)
    assert built_from(package) == Built("package", package, Origin())
    origin = Origin("/srv/vpnkeys", "abc123", is_changed=True)
    record_origin(package, origin)
    assert (package / "built.json").stat().st_mode & 0o777 == 0o644
    assert built_from(package) == Built("package", package, origin)
    (release / "release.json").write_text("{}")
    assert built_from(package) == Built("release", release, origin)


@pytest.mark.parametrize("content", ["", "[]", "1", '{"revision": "a", "of_a_newer_version": 1}', "\x00"])
def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, content: str) -> None:
    """Such as one that a newer version wrote."""
    (tmp_path / "built.json").write_text(content)
    assert built_from(tmp_path).origin == Origin()
