"""Upgrades and ways back, killed at every step: the release that is linked then starts with the data that are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from vpnkeys.install import releases, reverting, services, upgrading
from vpnkeys.install.host import InstallFailed
from vpnkeys.install.layout import Layout, led_to, point
from vpnkeys.install.releases import Release
from vpnkeys.install.reverting import Reversion
from vpnkeys.install.upgrading import Before, Switch, back_up, switch

OLD, NEW = 1, 2


class Killed(BaseException):
    """No step follows, and nothing is undone."""


class Host:
    """Releases whose versions are numbers, as are those of the data: a server starts with data up to its own."""

    def __init__(self, root: Path) -> None:
        """Make the releases; the installation is of the old one, with data of it."""
        self.layout = Layout(root / "opt", root / "data", root / "bin/vpnkeys", root / "units")
        self.releases: dict[int, Release] = {}
        for number in (OLD, NEW):
            directory = self.layout.releases / f"{number}-{number}"
            directory.mkdir(parents=True)
            (directory / "release.json").write_text(f'{{"version": "{number}", "digest": "d", "source": "s"}}')
            release = Release.at(directory)
            assert release is not None
            self.releases[number] = release
        (self.layout.data_dir / "backups").mkdir(parents=True)
        self.data, self.steps_left, self.broken, self.is_sqlite = OLD, 1000, 0, True
        point(self.layout.current, self.releases[OLD].directory)

    @property
    def linked(self) -> int:
        """The version of the release in use."""
        directory = led_to(self.layout.current)
        assert directory is not None
        return int(directory.name[0])

    def revision(self) -> str | None:
        """In place of `revision_of`."""
        return str(self.data) if self.is_sqlite else None

    def starts(self) -> bool:
        """Whether a server starts now: after a boot, for example."""
        return self.linked >= self.data

    def step(self) -> None:
        """One that changes something; none after the last."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Killed

    def backups(self) -> list[Path]:
        """The backups that upgrades and ways back have made."""
        return list((self.layout.data_dir / "backups").glob("before-upgrade-*"))

    def link(self, _link: Path, target: Path) -> None:
        """In place of `point`."""
        self.step()
        point(self.layout.current, target)

    def run(self, program: Path, command: str, file: Path | str = "", *more: str, data_dir: Path) -> str:
        """In place of the programs of releases. Backups hold the version of the data, which is raised by a restore."""
        own = int(program.parents[2].name[0])
        if command == "backup":
            Path(file).write_text(str(self.data))
        elif command == "restore":
            found = int(Path(file).read_text())
            if found > own:
                raise InstallFailed("its database is from a newer vpnkeys")
            if data_dir == self.layout.data_dir:
                self.step()
                self.data = own
        return str(own)

    def restart_server(self, _layout: Layout) -> None:
        """Migrate, or fail."""
        self.step()
        if not self.starts():
            raise InstallFailed("the database is of another version")
        self.data = self.linked

    def wait_for_answer(self, _layout: Layout, version: str) -> None:
        """Fail with the broken release."""
        self.step()
        if version == str(self.broken):
            raise InstallFailed("it does not answer")

    def file(self, version: int) -> Path:
        """A backup with data of this version."""
        file = self.layout.data_dir / "backups" / f"{version}.backup"
        file.write_text(str(version))
        return file


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The host, in place of systemd and of what releases do."""
    made = Host(tmp_path)
    for module in (upgrading, reverting, releases):
        monkeypatch.setattr(module, "run_as_server", made.run)
    for module in (upgrading, reverting):
        monkeypatch.setattr(module, "revision_of", lambda _: made.revision())
        monkeypatch.setattr(module, "servers_room", lambda: nullcontext(tmp_path))
    monkeypatch.setattr(reverting, "one_at_a_time", nullcontext)
    monkeypatch.setattr(reverting, "unpack", int)
    monkeypatch.setattr(reverting, "losses", lambda earlier, later: (earlier, later))
    monkeypatch.setattr(upgrading, "point", made.link)
    monkeypatch.setattr(upgrading, "settle", lambda *_: made.step())
    monkeypatch.setattr(services, "stop_server", lambda _: made.step())
    monkeypatch.setattr(services, "start", lambda _: None)
    monkeypatch.setattr(services, "restart_server", made.restart_server)
    monkeypatch.setattr(services, "wait_for_answer", made.wait_for_answer)
    return made


def upgrade(host: Host) -> None:
    """To the new release."""
    switch(host.layout, Switch(host.releases[OLD], host.releases[NEW], host.file(OLD)), lambda _: None)


def go_back(host: Host) -> None:
    """To the old release, which needs its data."""
    switch(host.layout, Switch(host.releases[NEW], host.releases[OLD], host.file(NEW), host.file(OLD)), lambda _: None)


@pytest.mark.parametrize("broken", [0, OLD, NEW])
@pytest.mark.parametrize(("change", "begins_with", "aims_at"), [(upgrade, OLD, NEW), (go_back, NEW, OLD)])
def test_a_server_starts_wherever_a_switch_is_killed(
    host: Host, change: Callable[[Host], None], begins_with: int, aims_at: int, broken: int
) -> None:
    """Also while it is undone, because the release does not answer. The same switch works afterwards."""
    last = 0
    for last in range(100):
        host.data, host.steps_left, host.broken = begins_with, last, broken
        point(host.layout.current, host.releases[begins_with].directory)
        try:
            change(host)
        except Killed:
            assert host.starts(), f"killed after {last} steps: release {host.linked}, data of {host.data}"
            continue
        except InstallFailed:
            assert (host.linked, host.data) == (begins_with, begins_with)
        else:
            assert (host.linked, host.data) == (aims_at, aims_at)
        break
    assert last > 3


def test_a_backup_for_the_way_back_is_not_pushed_out(host: Host) -> None:
    """However many upgrades fail after the one that made it; others go when three newer ones are there."""
    backups = host.layout.data_dir / "backups"
    names = [f"before-upgrade-2020010{day}-000000.backup" for day in range(1, 6)]
    for name in names:
        (backups / name).touch()
    (host.releases[NEW].directory / "before.json").write_text(f'{{"release": "1-1", "backup": "{names[0]}"}}')
    made = back_up(host.layout, host.releases[NEW].program)
    assert made is not None
    assert sorted(path.name for path in backups.iterdir()) == [names[0], *names[3:], made.name]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"release": "1-1"}'])
def test_a_damaged_note_is_none(host: Host, text: str) -> None:
    """The release before is then not known."""
    (host.releases[NEW].directory / "before.json").write_text(text)
    assert Before.of(host.releases[NEW]) is None


def test_an_upgrade_notes_the_way_back(host: Host) -> None:
    """With the new release, before it is linked, and so also where the upgrade is killed."""
    host.steps_left = 0
    with pytest.raises(Killed):
        upgrading.change(host.layout, host.releases[OLD], host.releases[NEW], lambda _: None, old_runs=True)
    before = Before.of(host.releases[NEW])
    assert before is not None
    assert (before.release, (host.layout.data_dir / "backups" / str(before.backup)).is_file()) == ("1-1", True)


def revert(host: Host) -> list[Reversion]:
    """Go back from wherever the host is, and return what was asked."""
    asked: list[Reversion] = []
    reverting.go_back(host.layout, lambda _: None, asked.append)
    return asked


def upgraded(host: Host) -> None:
    """Upgrade with the note of the way back."""
    upgrading.change(host.layout, host.releases[OLD], host.releases[NEW], lambda _: None, old_runs=True)


def test_without_a_release_before_nothing_is_done(host: Host) -> None:
    """It is said, and how to get another version."""
    with pytest.raises(InstallFailed, match=r"no release before 1-1 .*vpnkeys upgrade DIRECTORY"):
        revert(host)


def test_data_that_the_release_before_cannot_use_give_way(host: Host) -> None:
    """Those of before the upgrade come back, what that loses is asked, and the present ones are kept too."""
    upgraded(host)
    (asked,) = revert(host)
    assert asked.release == host.releases[OLD]
    assert repr(asked.losses) == repr((OLD, NEW))
    assert (host.linked, host.data) == (OLD, OLD)
    assert sorted(file.read_text() for file in host.backups()) == [str(OLD), str(NEW)]
    with pytest.raises(InstallFailed, match="no release before"):
        revert(host)
    upgraded(host)
    assert (host.linked, host.data) == (NEW, NEW)


def test_data_that_the_release_before_can_use_stay(host: Host) -> None:
    """Then nothing is lost."""
    upgraded(host)
    host.data = OLD
    (asked,) = revert(host)
    assert (asked.data, asked.losses, host.linked) == (None, None, OLD)


def test_without_the_kept_data_the_present_release_stays(host: Host) -> None:
    """The backup is gone, and the release before cannot use the present data: that is said, and nothing is done."""
    upgraded(host)
    for file in host.backups():
        file.unlink()
    with pytest.raises(InstallFailed, match=r"1-1 does not work with the present data, .*from a newer vpnkeys"):
        revert(host)
    assert (host.linked, host.data) == (NEW, NEW)


def test_who_does_not_agree_keeps_everything(host: Host) -> None:
    """The present release was not even stopped."""
    upgraded(host)
    host.steps_left = 0
    with pytest.raises(KeyboardInterrupt):
        reverting.go_back(host.layout, lambda _: None, _refuse)
    assert (host.linked, host.data) == (NEW, NEW)


def _refuse(_wanted: Reversion) -> None:
    raise KeyboardInterrupt


def test_a_database_elsewhere_must_have_the_same_tables(host: Host) -> None:
    """No backup of it was made. In place of the versions of tables, the fake programs say their own."""
    upgraded(host)
    host.is_sqlite = False
    with pytest.raises(InstallFailed, match="cannot use the present database"):
        revert(host)
    assert host.linked == NEW


def test_a_release_that_does_not_answer_any_more_is_left_again(host: Host) -> None:
    """The present one goes on with the present data."""
    upgraded(host)
    host.broken = OLD
    with pytest.raises(InstallFailed, match="does not answer"):
        revert(host)
    assert (host.linked, host.data) == (NEW, NEW)
