"""A restore that dies in the middle leaves the old state or the new one, or what is needed to complete the new."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.data_dirs import filled, keys_in, restore

from vpnkeys.ops.backup import take_whole, write_backup
from vpnkeys.settings import SettingsError

SETTINGS = "VPNKEYS_SERVER_ADDRESS=there.example\n"


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A backup of a data directory with two keys."""
    return write_backup(filled(tmp_path / "old", 1, 2), tmp_path / "backup").file


@pytest.mark.parametrize("again", ["server", "restore"])
def test_a_crash_leaves_the_old_or_the_new(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Dying before any rename or removal: the old state, or one that the next start or another restore completes."""
    outcomes = []
    for steps in range(100):
        new = filled(tmp_path / f"new-{again}-{steps}", 7)
        (new.data_dir / "vpnkeys.env").write_text(SETTINGS)
        pair = (new.data_dir / "reality.json").read_bytes()
        with monkeypatch.context() as patch:
            _die_after(patch, steps)
            try:
                restore(new, file, force=True)
                break
            except Crash:
                pass
        is_decided = (new.data_dir / ".restore").is_dir()
        if again == "restore":
            restore(new, file, force=not is_decided)
        else:
            if is_decided:
                with pytest.raises(SettingsError, match="an interrupted restore was completed"):
                    take_whole(new.data_dir)
            take_whole(new.data_dir).close()
        is_new = keys_in(new.data_dir) == [1, 2]
        assert is_new or keys_in(new.data_dir) == [7]
        assert ((new.data_dir / "reality.json").read_bytes() != pair) == is_new
        assert ((new.data_dir / "tls" / "key.pem").read_text() == "key (1, 2)") == is_new
        assert (new.data_dir / "vpnkeys.env").read_text() == SETTINGS, "those of this host stay"
        outcomes.append(is_new)
    assert outcomes == sorted(outcomes), "old ones first, then new ones"
    assert outcomes.count(True) > 5


def _die_after(patch: pytest.MonkeyPatch, steps: int) -> None:
    """The process dies instead of one of the steps that move or remove a file. Cleaning up is not for the dead."""
    left = [steps]

    def dying(name: str) -> None:
        real = getattr(Path, name)

        def step(path: Path, *args: object, **kwargs: object) -> object:
            if ".restore" in str(path) or path.parent.name.startswith("new-"):
                if left[0] <= 0:
                    raise Crash
                left[0] -= 1
            return real(path, *args, **kwargs)

        patch.setattr(Path, name, step)

    for name in ("rename", "replace", "unlink"):
        dying(name)
    real_rmtree = shutil.rmtree

    def rmtree(path: Path, **kwargs: Any) -> None:  # noqa: ANN401 - whatever the real one takes
        if left[0] > 0 or ".restore" not in str(path):
            real_rmtree(path, **kwargs)

    patch.setattr(shutil, "rmtree", rmtree)
