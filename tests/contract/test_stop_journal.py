"""The stop journal on real file systems: full, read-only, in memory, torn by a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.contract.test_store import NOON, key
from tests.support.disks import empty, fill, fill_for_good, needs_mounts, remount, small_disk, small_ext4

from vpnkeys.domain.change import KeyChanges, Stop
from vpnkeys.domain.traffic import Bytes, EpochSample, Samples
from vpnkeys.interfaces import HeldStops, Holds
from vpnkeys.rundir import ensure_run_dir, run_dir
from vpnkeys.store.files.stop_journal import FileStopJournal

pytestmark = needs_mounts

Disk = Callable[[Path], AbstractContextManager[Path]]


def held(*numbers: int) -> HeldStops:
    """Stops of these keys: the first is deleted, the others are switched off."""
    first, *others = (key(number) for number in numbers)
    return HeldStops(
        KeyChanges(update=tuple(others), delete=(first.id,)),
        tuple(Stop(key(number).id, key(number).uuid, key(number).port, NOON) for number in numbers),
        (EpochSample(Samples("boot:1:2", {first.uuid: Bytes(3, 4)}), NOON, has_ended=True),),
    )


@pytest.fixture(params=[small_disk, small_ext4])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk with room for a journal, which is made."""
    make: Disk = request.param
    with make(tmp_path / "d") as disk:
        FileStopJournal(disk).prepare()
        yield disk


def test_a_full_disk_takes_it(disk: Path) -> None:
    """Again and again, as its blocks are there; the next server reads the last, and what is cleared is gone."""
    fill(disk)
    for numbers in ((1,), (1, 2), (1, 2, 3)):
        assert FileStopJournal(disk).keep(held(*numbers)) is Holds.FOR_GOOD
        assert FileStopJournal(disk).read() == held(*numbers)
    assert FileStopJournal(disk).stopped_tags() == {key(number).tag for number in (1, 2, 3)}
    FileStopJournal(disk).clear()
    assert FileStopJournal(disk).read() is None
    assert FileStopJournal(disk).stopped_tags() == frozenset()


def test_it_takes_no_room_that_is_not_there(disk: Path) -> None:
    """Where it could not be made before, it says how little holds; with room it is made."""
    (disk / "stops").unlink()
    fill_for_good(disk)
    journal = FileStopJournal(disk)
    journal.prepare()
    assert journal.keep(held(1)) is Holds.UNTIL_EXIT
    assert not (disk / "stops").exists()
    empty(disk)
    journal.prepare()
    fill(disk)
    assert journal.keep(held(1)) is Holds.FOR_GOOD


def test_memory_takes_what_a_read_only_disk_does_not(disk: Path, tmp_path: Path) -> None:
    """And the newer of the two counts, also when the disk could not be cleared; without memory nothing outlasts us."""
    ensure_run_dir(run_dir(disk), tmp_path / "memory")
    journal = FileStopJournal(disk)
    assert journal.keep(held(1)) is Holds.FOR_GOOD
    remount(disk, "ro")
    assert journal.keep(held(1, 2)) is Holds.UNTIL_REBOOT
    assert FileStopJournal(disk).read() == held(1, 2)
    journal.clear()
    assert FileStopJournal(disk).read() is None
    remount(disk, "rw")
    journal.prepare()
    run_dir(disk).unlink()  # as a reboot does
    assert FileStopJournal(disk).read() is None
    remount(disk, "ro")
    assert journal.keep(held(1)) is Holds.UNTIL_EXIT


def test_a_write_that_a_crash_broke_off_leaves_the_one_before(disk: Path) -> None:
    """Each half is written in turn; one whose digest is wrong counts for nothing."""
    journal = FileStopJournal(disk)
    journal.keep(held(1))
    before = (disk / "stops").read_bytes()
    journal.keep(held(1, 2))
    after = (disk / "stops").read_bytes()
    (at,) = {index * len(after) // 2 for index in (0, 1) if before[index * len(after) // 2 :][:8] == bytes(8)}
    for cut in (4, 30, 60):
        (disk / "stops").write_bytes(after[: at + cut] + before[at + cut :])
        assert FileStopJournal(disk).read() == held(1)


def test_a_link_in_its_place_is_not_followed(disk: Path, tmp_path: Path) -> None:
    """The server may be root, and its directory another user's."""
    (disk / "stops").unlink()
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    (disk / "stops").symlink_to(other)
    assert FileStopJournal(disk).keep(held(1)) is Holds.UNTIL_EXIT
    assert other.read_bytes() == b"precious"


def test_more_than_it_has_room_for_is_said_not_to_hold(disk: Path) -> None:
    """And what it held before is not spoilt."""
    journal = FileStopJournal(disk)
    journal.keep(held(1))
    many = HeldStops(KeyChanges(delete=tuple(os.urandom(18).hex() for _ in range(20_000))))
    assert journal.keep(many) is Holds.UNTIL_EXIT
    assert journal.read() == held(1)
