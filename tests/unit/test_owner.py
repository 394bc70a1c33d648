"""Whose a directory or file is, and who may write there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.strangers import NOBODY, needs_users

from vpnkeys.owner import NotOurs, as_owner, read_ours, require_ours


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of ours with a settings file."""
    (data := tmp_path / "data").mkdir(mode=0o755)
    (data / "vpnkeys.env").write_text("A=1\n")
    return data


def _is_refused(data: Path) -> bool:
    try:
        require_ours(data)
        read_ours(data / "vpnkeys.env")
    except NotOurs:
        return True
    return False


@pytest.mark.parametrize(
    ("directory", "file", "is_refused"),
    [
        (0o700, 0o600, False),
        (0o755, 0o644, False),
        (0o775, 0o664, False),  # our own group, as by umask 002
        (0o777, 0o600, True),
        (0o1777, 0o600, True),
        (0o755, 0o666, True),
        (0o700, 0o666, False),  # nobody else comes as far as the file
    ],
)
def test_who_may_write(data: Path, directory: int, file: int, is_refused: bool) -> None:
    """Other users must not be able to put anything there; an own group is not other users."""
    (data / "vpnkeys.env").chmod(file)
    data.chmod(directory)
    assert _is_refused(data) is is_refused


def test_what_is_missing_or_empty_is_fine(tmp_path: Path) -> None:
    """There is nothing to believe yet."""
    require_ours(tmp_path / "none")
    assert read_ours(tmp_path / "none") == ""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty").chmod(0o777)
    require_ours(tmp_path / "empty")


def test_what_is_no_file_is_not_waited_for(data: Path) -> None:
    """A pipe to which nobody writes would be waited for for ever."""
    (data / "vpnkeys.env").unlink()
    os.mkfifo(data / "vpnkeys.env")
    with pytest.raises(NotOurs):
        read_ours(data / "vpnkeys.env")


@needs_users
def test_a_group_of_others(data: Path) -> None:
    """It is other users."""
    os.chown(data, 0, NOBODY)
    data.chmod(0o775)
    assert _is_refused(data)


@needs_users
@pytest.mark.parametrize("whose", ["directory", "link", "file"])
def test_another_user(data: Path, tmp_path: Path, whose: str) -> None:
    """What is another's is refused, also a link of his to what is ours."""
    (link := tmp_path / "link").symlink_to(data)
    os.chown(
        {"directory": data, "link": link, "file": data / "vpnkeys.env"}[whose], NOBODY, NOBODY, follow_symlinks=False
    )
    assert _is_refused(link)


def test_who_is_not_root_stays_who_he_is(data: Path) -> None:
    """And so does root, where the directory is nobody's who may be trusted."""
    before = os.geteuid(), os.getegid(), os.getgroups()
    with as_owner(data):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == before
