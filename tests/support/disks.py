"""Small disks of their own, which can be full or read-only. Only root can mount them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")

_PAGE = 4096


@contextmanager
def small_disk(directory: Path, mib: int = 8) -> Iterator[Path]:
    """A file system of so many MiB, mounted on a new directory."""
    directory.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "none", directory)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def small_ext4(directory: Path, mib: int = 16) -> Iterator[Path]:
    """A file system as servers have it, of so many MiB in a file, mounted on a new directory."""
    directory.mkdir()
    image = directory.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(mib * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    _mount("-o", "loop", image, directory)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(disk: Path) -> None:
    """Take all the space that is left."""
    with (disk / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(_PAGE)):
            pass


def fill_for_good(disk: Path) -> None:
    """Take all the space, and that of the reserve as well."""
    fill(disk)  # first, or the reserve would be put there again
    (disk / "reserve").unlink(missing_ok=True)
    fill(disk)


def empty(disk: Path) -> None:
    """Give all of that back."""
    (disk / "ballast").unlink()


def remount(disk: Path, how: str) -> None:
    """Mount a disk again as `ro` or `rw`; `ro` only while no process has a file of it open for writing."""
    _mount("-o", f"remount,{how}", disk)


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Let nobody write to a disk by its name, though its files are open; who opened them earlier still can."""
    _mount("--bind", directory, directory)
    _mount("-o", "remount,bind,ro", directory)
    try:
        yield
    finally:
        _mount("-o", "remount,bind,rw", directory)
        # Lazily, as files that were opened by that name meanwhile stay open.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)
