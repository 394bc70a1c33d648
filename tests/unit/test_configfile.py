"""config.json on disk: whole or untouched, the operator's own kept, durable when it is said to be."""

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from tests.unit.test_config import inbound_of

from vpnkeys.domain.errors import ConfigRefused, ConfigUnwritable
from vpnkeys.domain.inbound import ForeignInbound
from vpnkeys.domain.plan import FileState, file_is_right
from vpnkeys.domain.portpool import PortRange
from vpnkeys.files import write_atomically
from vpnkeys.xray.config.check import ConfigUntested
from vpnkeys.xray.config.document import BaseConfig
from vpnkeys.xray.config.file import ConfigFile

WANTED = (inbound_of(10001),)
SOCKET = "/run/vpnkeys/api.sock"


@dataclass(slots=True)
class Checker:
    """Stands in for Xray's own test: remembers what it was shown, and may refuse."""

    refuses: Callable[[bytes], bool] = lambda _: False
    seen: list[bytes] = field(default_factory=list)

    def __call__(self, path: Path) -> None:
        """Look at a trial file."""
        self.seen.append(path.read_bytes())
        if self.refuses(self.seen[-1]):
            raise ConfigRefused("no")


@pytest.fixture
def checker() -> Checker:
    """One that takes everything."""
    return Checker()


@pytest.fixture
def file(tmp_path: Path, checker: Checker) -> ConfigFile:
    """A file that is not there yet."""
    return ConfigFile(tmp_path / "config.json", BaseConfig(SOCKET, PortRange(10001, 10100), mark=2), checker)


def put(file: ConfigFile, document: object) -> bytes:
    """Write by hand; what was written."""
    file.path.write_bytes(orjson.dumps(document))
    return file.path.read_bytes()


def names(file: ConfigFile) -> set[str]:
    """What lies beside the file, and it."""
    return {path.name for path in file.path.parent.iterdir()}


def test_what_was_written_is_read_back(file: ConfigFile) -> None:
    """Right after a write there is nothing to repair, and nothing but the file is left."""
    assert file.read().state is FileState.MISSING
    file.write(WANTED)
    view = file.read()
    assert view.inbounds == {inbound.tag: inbound for inbound in WANTED}
    assert file_is_right(WANTED, view)
    assert names(file) == {"config.json"}


def test_it_is_for_its_owner_alone(file: ConfigFile) -> None:
    """The private key is in it: mode 0600, also when somebody had opened it to others."""
    before = os.umask(0)
    try:
        file.path.write_text("{}")
        file.path.chmod(0o666)
        file.write(WANTED)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_write_is_durable_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the content to the disk, then the name, then the directory: a power cut leaves the old or the new."""
    path, told = tmp_path / "x.json", []
    path.write_bytes(b"old")
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        told.append(("directory" if is_directory else "content", path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_atomically(path, b"new")
    assert told == [("content", b"old"), ("directory", b"new")]


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'"x"', b'{"inbounds": 5}', b'{"inbounds": [5]}', b"\xff\xfe"])
def test_an_unreadable_file_is_kept_aside(file: ConfigFile, broken: bytes) -> None:
    """It is told as it is, and written anew; nobody's work is thrown away."""
    file.path.write_bytes(broken)
    view = file.read()
    assert view.state is FileState.INVALID
    assert view.problem
    file.write(WANTED)
    assert file_is_right(WANTED, file.read())
    assert (file.path.parent / "config.json.broken").read_bytes() == broken


def test_a_file_that_cannot_be_written_is_not_changed(file: ConfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, at whichever step: the old file is whole, and nothing is left lying about."""
    file.write(WANTED)
    before = file.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for always_check in (False, True):
        with pytest.raises(ConfigUnwritable, match="No space left"):
            file.write((), always_check=always_check)
    assert file.path.read_bytes() == before
    assert names(file) == {"config.json"}


def test_a_directory_that_is_gone_is_unwritable(file: ConfigFile) -> None:
    """It is told, not traced."""
    file.path = file.path.parent / "gone" / "config.json"
    with pytest.raises(ConfigUnwritable, match="gone"):
        file.write(WANTED)


def test_sections_that_xray_refuses_stay_and_are_told(file: ConfigFile, checker: Checker) -> None:
    """Keys come and go beside them, and Xray is asked once; they are left out on request, after a copy."""
    put(file, {"inbounds": [], "dns": 5})
    checker.refuses = lambda content: b'"dns"' in content
    file.write(WANTED)
    assert (file.refusal, len(checker.seen)) == ("no", 2)
    file.write(())
    file.write(WANTED)
    assert (file.refusal, len(checker.seen)) == ("no", 2)
    assert orjson.loads(file.path.read_bytes())["dns"] == 5
    file.leave_out_foreign()
    assert names(file) == {"config.json", "config.json.refused"}
    assert orjson.loads((file.path.parent / "config.json.refused").read_bytes())["dns"] == 5
    assert b'"dns"' not in file.path.read_bytes()
    assert (file_is_right(WANTED, file.read()), file.refusal) == (True, "")


@pytest.mark.parametrize(("always_check", "refused"), [(True, b'"dns"'), (False, b'"vpnkeys-api"')])
def test_a_file_that_must_be_fit_is_not_put_in_place(
    file: ConfigFile, checker: Checker, always_check: bool, refused: bytes
) -> None:
    """At a start nothing is excused, and what Xray refuses of ours never is; the file is the old one."""
    before = put(file, {"inbounds": [], "dns": 5})
    checker.refuses = lambda content: refused in content
    with pytest.raises(ConfigRefused):
        file.write(WANTED, always_check=always_check)
    assert file.path.read_bytes() == before
    assert names(file) == {"config.json"}


def test_a_test_that_cannot_be_run_refuses_nothing(file: ConfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer the file stays as it is."""
    before = put(file, {"inbounds": [], "dns": 5})

    def cannot(_path: Path) -> None:
        raise ConfigUntested("no such program")

    monkeypatch.setattr(file, "check", cannot)
    with pytest.raises(ConfigUntested):
        file.write(WANTED)
    assert file.path.read_bytes() == before


def test_xray_is_asked_only_about_what_is_new(file: ConfigFile, checker: Checker) -> None:
    """Our own well-known inbounds come and go untested; anything else in the file is tested once."""
    for wanted in (WANTED, (), WANTED):
        file.write(wanted)
    assert len(checker.seen) == 1
    document = orjson.loads(file.path.read_bytes())
    put(file, {**document, "dns": {"servers": ["127.0.0.1"]}})
    for wanted in ((), WANTED):
        file.write(wanted)
    assert len(checker.seen) == 2
    file.write(WANTED, always_check=True)
    assert len(checker.seen) == 3
    file.test(WANTED)
    assert len(checker.seen) == 4


def test_drift_in_the_frame_is_seen(file: ConfigFile) -> None:
    """A changed rule, outbound or API is drift though every inbound is right; the operator's additions are not."""
    file.write(WANTED)
    right = orjson.loads(file.path.read_bytes())
    put(file, {**right, "dns": {}, "inbounds": [*right["inbounds"], {"tag": "mine", "port": 443}]})
    view = file.read()
    assert file_is_right(WANTED, view)
    assert [inbound.tag for inbound in view.foreign] == ["mine"]
    for part in ("api", "stats", "policy", "routing", "outbounds"):
        put(file, {name: value for name, value in right.items() if name != part})
        assert not file.read().base_ok, part
    put(file, {**right, "inbounds": right["inbounds"][1:]})
    assert not file.read().base_ok


def test_a_doubled_tag_is_drift(file: ConfigFile) -> None:
    """Of two with one tag neither can be told to be the right one."""
    file.write(WANTED)
    right = orjson.loads(file.path.read_bytes())
    put(file, {**right, "inbounds": [*right["inbounds"], right["inbounds"][1]]})
    assert isinstance(file.read().inbounds["key-1"], ForeignInbound)
    file.write(WANTED)
    assert file_is_right(WANTED, file.read())


def test_inbounds_on_our_ports_without_our_tags_are_the_operators(file: ConfigFile) -> None:
    """They stay, whatever they are, and their ports are reserved; what has our tags is put right."""
    mine = [{"tag": ["x"], "port": 10001}, {"port": "10002-10003, 9000,10100"}, {"port": "env:PORT"}, {"port": None}]
    put(file, {"inbounds": [*mine, {"tag": "key-9", "settings": []}]})
    view = file.read()
    assert [*view.inbounds] == ["key-9"]
    assert view.reserved == {10001: "['x']", 10002: "", 10003: "", 10100: ""}
    assert file.reserved() == view.reserved
    file.write(WANTED)
    assert file_is_right(WANTED, file.read())
    assert orjson.loads(file.path.read_bytes())["inbounds"][2:] == mine
    assert file.reserved() == view.reserved
    put(file, {"inbounds": []})
    assert file.reserved() == {}


def test_comments_are_read_as_xray_reads_them_and_kept_in_a_copy(file: ConfigFile) -> None:
    """The operator's sections stay when the file is written; no copy of one text is made twice, and five are kept."""
    for number in range(7):
        text = f'{{"dns": {{"tag": "a//b#c"}}, /* {number} *\n/ # one\n"inbounds": []}} // two'.encode()
        for _ in range(2):
            file.path.write_bytes(text)
            file.write(WANTED)
        assert orjson.loads(file.path.read_bytes())["dns"] == {"tag": "a//b#c"}
        assert (file.path.parent / "config.json.with-comments").read_bytes() == text
    ends = {"", ".with-comments", *(f".with-comments.{number}" for number in (1, 2, 3, 4))}
    assert names(file) == {f"config.json{end}" for end in ends}
    assert b"/* 2 *" in (file.path.parent / "config.json.with-comments.4").read_bytes()


def test_keeping_a_broken_file_is_told(file: ConfigFile, caplog: pytest.LogCaptureFixture) -> None:
    """An operator finds out where the work of an evening is."""
    file.path.write_text("{")
    with caplog.at_level(logging.WARNING):
        file.write(WANTED)
    assert "config.json.broken" in caplog.text


def test_what_we_wrote_is_not_read_back_and_what_others_wrote_is(file: ConfigFile, checker: Checker) -> None:
    """A second write gives what a newcomer would write; a hand's change in between is kept."""
    file.write(WANTED)
    file.write((*WANTED, inbound_of(10002)))
    newcomer = ConfigFile(file.path, file.base, checker)
    mine = file.path.read_bytes()
    newcomer.write((*WANTED, inbound_of(10002)))
    assert file.path.read_bytes() == mine
    put(file, {**orjson.loads(mine), "dns": {"servers": ["192.0.2.1"]}})
    file.write(WANTED)
    assert orjson.loads(file.path.read_bytes())["dns"] == {"servers": ["192.0.2.1"]}


def test_a_directory_in_its_place_is_moved_aside(file: ConfigFile) -> None:
    """Also one in the place of a file that is written only for a moment, and a second one later."""
    for number in range(2):
        for name in ("config.json", ".config.new.json", ".config.trial.json", "..config.trial.new.json"):
            (file.path.with_name(name) / f"mine-{number}").mkdir(parents=True)
        assert file.read().state is FileState.INVALID
        file.write(WANTED, always_check=True)
        assert file_is_right(WANTED, file.read())
        file.path.unlink()
    kept = sorted(path.name for path in file.path.parent.glob("*/mine-*"))
    assert kept == ["mine-0"] * 4 + ["mine-1"] * 4
