"""Files are known again, by their names, their marks and their contents, and Unix sockets by who listens."""

import os
import socket
from pathlib import Path

import pytest

from vpnkeys.files import Mark, is_at, sha256_of, sync_directory, write_atomically
from vpnkeys.owner import listener_pid


def test_a_mark_is_of_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    """As Certbot's links; a replaced file has another one, also with the same content."""
    file, link = tmp_path / "file", tmp_path / "link"
    mark = write_atomically(file, b"one")
    link.symlink_to(file)
    assert Mark.at(link) == Mark.at(file) == mark
    assert write_atomically(file, b"one") != mark
    assert Mark.at(link) == Mark.at(file) != mark


def test_what_cannot_be_seen_has_no_mark(tmp_path: Path) -> None:
    """A file that is missing, one behind something that is no directory, and a link in a circle."""
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("none", "file/below", "circle"):
        assert Mark.at(tmp_path / name) is None


def test_an_open_file_may_lose_its_name(tmp_path: Path) -> None:
    """By being moved, replaced or removed; written to, it keeps it."""
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        file.write(b"more")
        assert is_at(file.fileno(), path)
        path.rename(tmp_path / "moved")
        assert not is_at(file.fileno(), path)
        path.write_bytes(b"more")
        assert not is_at(file.fileno(), path)
        assert is_at(file.fileno(), tmp_path / "moved")


def test_a_digest_is_of_the_content(tmp_path: Path) -> None:
    """In the form of sha256sum; a file that is missing has none."""
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "none")


def test_a_directory_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory itself, not something in it; a file is refused."""
    synced: list[os.stat_result] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)))
    sync_directory(tmp_path)
    assert [os.path.samestat(one, tmp_path.stat()) for one in synced] == [True]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


def test_who_listens_on_a_unix_socket(tmp_path: Path) -> None:
    """A socket nobody listens on any more, and one that takes no connection, raise and do not hang."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        with pytest.raises(ConnectionRefusedError):
            listener_pid(path, 1)
        server.listen(0)
        assert listener_pid(path, 1) == os.getpid()
        with pytest.raises((BlockingIOError, TimeoutError)):
            listener_pid(path, 0.1)
    with pytest.raises(ConnectionRefusedError):
        listener_pid(path, 1)
