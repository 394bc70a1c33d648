"""What an installation is made of, without making one."""

from __future__ import annotations

import os
import re
import shutil
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest
import typer
from tests.support.process import REPOSITORY
from typer.testing import CliRunner

from vpnkeys import __version__
from vpnkeys.cli.commands.install import install
from vpnkeys.cli.commands.serve import serve
from vpnkeys.cli.domain import Domain
from vpnkeys.install import installing, services, xrays
from vpnkeys.install.domain import with_setting
from vpnkeys.install.host import InstallFailed, one_at_a_time, run
from vpnkeys.install.layout import Layout, led_to, point, write_wrapper
from vpnkeys.install.notes import ENV_TEMPLATE, firewall_hints, introduction
from vpnkeys.install.releases import Release, check_source, digest_of, next_directory, prune
from vpnkeys.install.upgrading import revision_of
from vpnkeys.install.xrays import copy_xray
from vpnkeys.settings import Settings, load_settings
from vpnkeys.store.sql.migrate import HEAD, mark_moved
from vpnkeys.store.sql.opening import open_migrated


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation's places, below a directory of the test's own."""
    made = Layout(tmp_path / "opt", tmp_path / "data", tmp_path / "bin/vpnkeys", tmp_path / "units")
    for directory in (made.releases, made.data_dir, made.units):
        directory.mkdir(parents=True)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small source tree."""
    tree = tmp_path / "tree"
    (tree / "src/vpnkeys").mkdir(parents=True)
    (tree / "pyproject.toml").write_text('[project]\nname = "vpnkeys"\nversion = "1.2.3"\n')
    (tree / "requirements.txt").write_text("")
    (tree / "src/vpnkeys/__init__.py").write_text("")
    return tree


def settings(**given: str) -> Settings:
    """Settings with these values."""
    return load_settings({"VPNKEYS_DATA_DIR": "/nowhere", **{f"VPNKEYS_{name}": text for name, text in given.items()}})


def release(layout: Layout, name: str) -> Release:
    """A release that was completed."""
    directory = layout.releases / name
    directory.mkdir()
    (directory / "release.json").write_text('{"version": "1", "digest": "d", "source": "s"}')
    found = Release.at(directory)
    assert found is not None
    return found


def test_every_line_of_the_settings_file_is_a_setting(tmp_path: Path) -> None:
    """The file that is made changes nothing, and each of its settings is accepted as it stands."""
    env_file = tmp_path / "vpnkeys.env"
    env_file.write_text(ENV_TEMPLATE)
    plain = load_settings({"VPNKEYS_DATA_DIR": str(tmp_path)})
    env_file.write_text("")
    assert plain == load_settings({"VPNKEYS_DATA_DIR": str(tmp_path)})
    for instead in ("TLS_", "DOMAIN"):  # a certificate of one's own, or one that is issued
        env_file.write_text(re.sub(rf"^#(?=VPNKEYS_(?!{instead}))", "", ENV_TEMPLATE, flags=re.MULTILINE))
        assert load_settings({"VPNKEYS_DATA_DIR": str(tmp_path)}).server_address == "vpn.example.com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "\n\nVPNKEYS_DOMAIN=b.example.com\n"),
        ("VPNKEYS_LISTEN=x\n", "VPNKEYS_LISTEN=x\n\nVPNKEYS_DOMAIN=b.example.com\n"),
        ("# VPNKEYS_DOMAIN=a\nX=1\n", "VPNKEYS_DOMAIN=b.example.com\nX=1\n"),
        ("X=1\nVPNKEYS_DOMAIN=a.example.com\n", "X=1\nVPNKEYS_DOMAIN=b.example.com\n"),
    ],
)
def test_a_setting_is_put_in_its_place(text: str, expected: str) -> None:
    """In its line, or that of its example; all other lines stay."""
    assert with_setting(text, "VPNKEYS_DOMAIN", "b.example.com") == expected


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("ufw", ["  ufw allow 8000/tcp", "  ufw allow 10001:10100/tcp"]),
        (
            "firewall-cmd",
            [
                "  firewall-cmd --permanent --add-port=8000/tcp",
                "  firewall-cmd --permanent --add-port=10001-10100/tcp",
                "  firewall-cmd --reload",
            ],
        ),
        ("none", ["  nft insert rule inet filter input tcp dport '{ 8000, 10001-10100 }' accept"]),
    ],
)
def test_firewall_hints_are_for_the_firewall_that_is_there(program: str, lines: list[str]) -> None:
    """They name the API's port and the keys' ports, as the firewall's own command takes them."""
    assert firewall_hints(settings(), lambda name: name == program)[1:] == lines


def test_the_port_of_the_authoritys_checks_is_opened_too() -> None:
    """With a domain, unless the check comes to the API itself."""
    names = {"DOMAIN": "vpn.example.com", "PORT_RANGE": "7-7"}
    opened = [
        firewall_hints(settings(LISTEN=f"[::]:{port}", **names), lambda name: name == "ufw") for port in (8000, 443)
    ]
    assert [hints[1:] for hints in opened] == [
        ["  ufw allow 80/tcp", "  ufw allow 8000/tcp", "  ufw allow 7/tcp"],
        ["  ufw allow 443/tcp", "  ufw allow 7/tcp"],
    ]


def test_an_api_on_loopback_needs_no_open_port() -> None:
    """The hints leave a port out that nobody outside can reach; a range of one is one port."""
    hints = firewall_hints(settings(LISTEN="127.0.0.1:8000", PORT_RANGE="443-443"), lambda name: name == "ufw")
    assert hints[1:] == ["  ufw allow 443/tcp"]


def test_the_introduction_has_the_api_key_only_when_it_is_new() -> None:
    """URL and fingerprint are always there."""
    with_key = introduction(settings(SERVER_ADDRESS="2001:db8::1"), "1", "AA:BB", "secret")
    without = introduction(settings(SERVER_ADDRESS="2001:db8::1"), "1", "AA:BB", None)
    assert "API key, shown this once: secret" in with_key
    assert not any("API key" in line for line in without)
    assert all("https://[2001:db8::1]:8000" in lines[0] and "AA:BB" in lines[1] for lines in (with_key, without))


def test_units_and_wrapper_name_the_places() -> None:
    """Programs, data and Xray are where the installer puts them."""
    layout = Layout()
    units = [path.read_text() for path in services.PACKAGED.glob("*.service")]
    wrapper = (services.PACKAGED.parent / "wrapper.sh").read_text()
    for text in (*units, wrapper):
        assert f"{layout.current}/venv/bin/vpnkeys" in text
        assert str(layout.current_xray) in text
        assert str(layout.data_dir) in text


def test_the_wrapper_can_be_run(layout: Layout) -> None:
    """It is a program for everybody."""
    write_wrapper(layout.wrapper, services.PACKAGED.parent / "wrapper.sh")
    assert layout.wrapper.stat().st_mode & 0o777 == 0o755


def test_this_tree_can_be_installed() -> None:
    """Its version is the package's."""
    assert check_source(REPOSITORY) == __version__


@pytest.mark.parametrize("spoil", ["pyproject.toml", "requirements.txt", "src"])
def test_what_is_no_source_tree_is_refused(source: Path, spoil: str) -> None:
    """A directory with a part missing is told from a source tree."""
    assert check_source(source) == "1.2.3"
    (source / spoil).rename(source / "elsewhere")
    with pytest.raises(InstallFailed, match="not a source tree"):
        check_source(source)


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_wrong_place_changes_nothing(layout: Layout, tmp_path: Path, place: str) -> None:
    """It is no source tree, whatever of it is missing; of the domain nothing is written yet."""
    wrong = tmp_path / place
    before = sorted(tmp_path.rglob("*"))
    for work in (
        partial(installing.install, layout, wrong, None, print, "vpn.example.com"),
        partial(installing.upgrade, layout, wrong, print),
        partial(installing.upgrade_to, layout, release(layout, "1-1"), wrong, None, print),
    ):
        with pytest.raises(InstallFailed, match="is not a source tree of vpnkeys; give the directory of a clone"):
            work()
    assert not layout.env_file.exists()
    assert {path.name for path in tmp_path.rglob("*")} - {path.name for path in before} == {"1-1", "release.json"}


@pytest.mark.parametrize("wanted", ["/typo/path", "typo", "./26.3.27/x", "v26"])
def test_a_mistyped_path_fetches_no_xray(layout: Layout, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """Neither is it looked for, fetched or built, which takes minutes and may fail for another reason."""
    (layout.xrays / "1").mkdir(parents=True)
    point(layout.xrays / "current", layout.xrays / "1")
    monkeypatch.setattr(xrays, "obtain", lambda *_: pytest.fail("it was looked for"))
    with pytest.raises(InstallFailed, match=f"{re.escape(wanted)} is neither a file nor a version"):
        xrays.upgrade_xray(layout, settings(), wanted, print)


def test_an_empty_domain_is_a_mistake() -> None:
    """As of a variable without a value; it was taken for an option that was left out."""
    app, seen = typer.Typer(), list[str | None]()

    @app.command()
    def start(domain: Domain = None) -> None:
        seen.append(domain)

    codes = [
        CliRunner().invoke(app, options).exit_code for options in ([], ["--domain", "a.example"], ["--domain", ""])
    ]
    assert (codes, seen) == ([0, 0, 2], [None, "a.example"])
    assert all(get_type_hints(command, include_extras=True)["domain"] == Domain for command in (serve, install))


def test_a_version_is_no_path(source: Path) -> None:
    """A tree cannot choose where its release is put."""
    (source / "pyproject.toml").write_text('[project]\nname = "vpnkeys"\nversion = "../1"\n')
    with pytest.raises(InstallFailed):
        check_source(source)


def test_a_digest_tells_trees_apart(source: Path) -> None:
    """It changes with names and contents, not with what Python leaves behind or what is not installed."""
    first = digest_of(source)
    (source / "src/vpnkeys/__pycache__").mkdir()
    (source / "src/vpnkeys/__pycache__/x.pyc").write_bytes(b"1")
    (source / "README.md").write_text("new")
    assert digest_of(source) == first
    (source / "src/vpnkeys/more.py").write_text("")
    second = digest_of(source)
    (source / "src/vpnkeys/more.py").rename(source / "src/vpnkeys/other.py")
    assert len({first, second, digest_of(source)}) == 3


def test_numbers_of_releases_rise(layout: Layout) -> None:
    """A number is not used twice while its release is there, whatever the version; ten comes after nine."""
    assert next_directory(layout.releases, "1.0").name == "1.0-1"
    release(layout, "1.0-9")
    release(layout, "2.0-10")
    assert next_directory(layout.releases, "1.0").name == "1.0-11"


def test_an_unfinished_release_is_none(layout: Layout) -> None:
    """Without its record, or with half of it, a directory is no release."""
    directory = layout.releases / "1-1"
    directory.mkdir()
    assert Release.at(directory) is None
    (directory / "release.json").write_text('{"version": "1"')
    assert Release.at(directory) is None


def test_pruning_keeps_what_is_named(layout: Layout) -> None:
    """All other releases go."""
    first, second, third = (release(layout, f"1-{number}") for number in (1, 2, 3))
    prune(layout, (first, third))
    assert [path.directory.is_dir() for path in (first, second, third)] == [True, False, True]


def test_a_link_is_changed_in_one_step(layout: Layout) -> None:
    """It leads where it was pointed, relative so that the tree may be mounted elsewhere; a lost end is none."""
    first, second = release(layout, "1-1"), release(layout, "1-2")
    assert led_to(layout.current) is None
    point(layout.current, first.directory)
    point(layout.current, second.directory)
    assert (led_to(layout.current), layout.current.readlink()) == (second.directory, Path("releases/1-2"))
    prune(layout, (first,))
    assert led_to(layout.current) is None


def test_the_same_xray_is_kept_once(layout: Layout, tmp_path: Path) -> None:
    """Another program of the same version gets a place of its own."""
    program = tmp_path / "xray"
    program.write_bytes(b"one")
    first = copy_xray(layout, (program, "26.1.1"))
    assert (first.name, copy_xray(layout, (program, "26.1.1"))) == ("26.1.1", first)
    program.write_bytes(b"two")
    second = copy_xray(layout, (program, "26.1.1"))
    assert (second.name, (second / "xray").read_bytes(), (first / "xray").read_bytes()) == ("26.1.1-2", b"two", b"one")
    assert os.access(second / "xray", os.X_OK)


def test_foreign_units_are_not_ours(layout: Layout) -> None:
    """A unit that an operator wrote is left alone, also under a name like ours."""
    (layout.units / "vpnkeys-extra.service").write_text("[Service]\n")
    (layout.units / "vpnkeys.service").write_text((services.PACKAGED / "vpnkeys.service").read_text())
    assert [path.name for path in services.installed_units(layout)] == ["vpnkeys.service"]


def test_a_database_that_is_not_there_has_no_revision(tmp_path: Path) -> None:
    """Asking makes none."""
    assert revision_of(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_was_moved_needs_no_backup(tmp_path: Path) -> None:
    """An upgrade would fail with one: the server's data are not in this file any more."""
    url = f"sqlite:///{tmp_path / 'vpnkeys.db'}"
    engine = open_migrated(url)
    assert revision_of(tmp_path) == HEAD
    with engine.begin() as connection:
        mark_moved(connection, "postgresql")
    engine.dispose()
    assert revision_of(tmp_path) is None


def test_one_installation_at_a_time(tmp_path: Path) -> None:
    """A second one is refused while the first is at work."""
    lock = tmp_path / "lock"
    with one_at_a_time(lock), pytest.raises(InstallFailed, match="another"), one_at_a_time(lock):
        pass
    with one_at_a_time(lock):
        pass


def test_a_failed_program_is_quoted() -> None:
    """Its status and last words are in the error."""
    with pytest.raises(InstallFailed, match=r"sh -c .*failed \(3\):\nsorry"):
        run("sh", "-c", "echo sorry >&2; exit 3")


def test_a_host_without_nftables_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first installation stops there, and says what is open without it and how to go on."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(InstallFailed, match="--without-nftables"):
        installing.require_nftables()
