"""`run/` is in memory where that is possible, and is never taken away from who uses it."""

import shutil
import socket
from pathlib import Path

import pytest

from vpnkeys.rundir import ensure_run_dir, is_listening


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where it is to be."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "run"


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """A place in memory."""
    return tmp_path / "memory"


def test_it_is_a_link_into_memory(run: Path, memory: Path) -> None:
    """For its owner alone; made once, and again after a boot, which empties the memory."""
    for _ in range(2):
        ensure_run_dir(run, memory)
        assert run.is_symlink()
        assert run.readlink().parent == memory
        assert run.stat().st_mode & 0o777 == 0o700
        (run / "file").touch()
    ensure_run_dir(run, memory)
    assert (run / "file").exists()
    shutil.rmtree(memory)
    ensure_run_dir(run, memory)
    assert list(run.iterdir()) == []


def test_it_is_a_directory_where_there_is_no_memory(run: Path, memory: Path) -> None:
    """None that this process may use, or one that cannot be made; also in place of a link that leads nowhere."""
    ensure_run_dir(run, memory)
    shutil.rmtree(memory)
    memory.touch()
    for place in (None, memory, memory / "below"):
        ensure_run_dir(run, place)
        assert not run.is_symlink()
        assert run.stat().st_mode & 0o777 == 0o700


def test_a_directory_of_an_earlier_version_becomes_a_link(run: Path, memory: Path) -> None:
    """What a killed Xray left in it goes."""
    run.mkdir()
    (run / "api.sock.lock").touch()
    ensure_run_dir(run, memory)
    assert run.is_symlink()
    assert list(run.iterdir()) == []
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["api.sock", "admin.sock"])
def test_a_directory_that_is_used_stays(run: Path, memory: Path, name: str) -> None:
    """An Xray or a server that listens in it would be unreachable."""
    run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run / name))
        assert not is_listening(run / name)
        listener.listen()
        assert is_listening(run / name)
        ensure_run_dir(run, memory)
        assert not run.is_symlink()
    ensure_run_dir(run, memory)
    assert run.is_symlink()


def test_a_copy_of_a_data_directory_has_its_own(run: Path, memory: Path) -> None:
    """Its link leads to the original's sockets, which are not its own to remove."""
    ensure_run_dir(run, memory)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run / "api.sock"))
        listener.listen()
        copy = run.parent.with_name("copy")
        shutil.copytree(run.parent, copy, symlinks=True)
        ensure_run_dir(copy / "run", memory)
        assert list((copy / "run").iterdir()) == []
        assert is_listening(run / "api.sock")
