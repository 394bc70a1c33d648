"""Log writing lets nobody wait, stops for a full disk, and goes on afterwards."""

import json
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.process import wait_until

from vpnkeys.server.logformat import LineFormatter
from vpnkeys.server.logs import is_journal, logging_as_set
from vpnkeys.server.logwriter import FILES_KEPT, LogFile, Outlet
from vpnkeys.settings import Settings, SettingsError, journal_stream, load_settings


def event(message: str, *args: object, **extra: object) -> logging.LogRecord:
    """Something happened."""
    made = logging.LogRecord("vpnkeys.x", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


@dataclass(slots=True)
class Rig:
    """A log file, what was logged of it, and a clock of its own."""

    path: Path
    caplog: pytest.LogCaptureFixture
    sink: LogFile = field(init=False)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.sink = self.at(self.path)

    def at(self, path: Path) -> LogFile:
        """A small log file."""
        made = LogFile(path, max_bytes=1000, clock=lambda: self.now)
        made.setFormatter(LineFormatter(as_json=False))
        return made

    def write(self, message: str) -> None:
        """Write one event."""
        self.sink.emit(event(message))

    def said(self) -> list[str]:
        """The messages in the file."""
        return [line.split(": ", 1)[1] for line in self.path.read_text().splitlines()]

    def complaints(self) -> list[str]:
        """What was logged of the file itself."""
        return [record.getMessage() for record in self.caplog.records]


@pytest.fixture
def rig(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Rig]:
    """Small files."""
    made = Rig(tmp_path / "log", caplog)
    yield made
    made.sink.close()


def test_the_file_is_its_owner_s_alone(rig: Rig) -> None:
    """Also when it was there before, with other rights; what is in it stays."""
    rig.path.write_text("x: before\n")
    rig.path.chmod(0o644)
    rig.write("after")
    assert rig.path.stat().st_mode & 0o777 == 0o600
    assert rig.said() == ["before", "after"]


def test_files_rotate_by_size(rig: Rig) -> None:
    """Five files, none larger than its limit, all 0600, and the newest lines in order."""
    for number in range(500):
        rig.write(f"line {number}")
    names = ["log", *(f"log.{number}" for number in range(1, FILES_KEPT))]
    assert sorted(path.name for path in rig.path.parent.iterdir()) == names
    files = [rig.path.with_name(name) for name in reversed(names)]
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert [line.rpartition(" ")[2] for line in lines] == [str(number) for number in range(500 - len(lines), 500)]
    assert not rig.complaints()


def test_a_file_that_was_taken_away_is_made_anew(rig: Rig) -> None:
    """Whoever rotates logs himself need not tell us."""
    rig.write("one")
    rig.path.rename(rig.path.with_name("taken"))
    rig.write("two")
    assert rig.said() == ["two"]


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The kernel cuts a write off at this size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_file_quietly_and_it_resumes(rig: Rig) -> None:
    """One complaint, no half line, no try at each event; then the number of the lost, and the log goes on."""
    rig.write("before")
    with files_no_larger_than(rig.path.stat().st_size + 10):
        for _ in range(5):
            rig.write("lost")
            rig.now += 1
        assert rig.said() == ["before"]
        rig.now += 10
        rig.write("lost")
        assert rig.said() == ["before"]
    rig.write("lost, as it is too soon")
    rig.now += 10
    rig.write("after")
    assert rig.said() == ["before", "7 events before this one could not be written", "after"]
    (complaint,) = rig.complaints()
    assert "cannot be written" in complaint


def test_a_file_that_cannot_be_there_harms_nobody(rig: Rig) -> None:
    """A directory that is missing is a complaint; /dev/null stays what it is."""
    rig.at(rig.path / "no" / "log").emit(event("lost"))
    assert len(rig.complaints()) == 1
    mode = Path(os.devnull).stat().st_mode
    null = rig.at(Path(os.devnull))
    null.emit(event("gone"))
    null.close()
    assert Path(os.devnull).stat().st_mode == mode
    assert len(rig.complaints()) == 1


def test_an_event_that_cannot_be_formatted_ends_nothing(rig: Rig) -> None:
    """Those after it are written."""

    class Odd:
        """Has no text."""

        def __str__(self) -> str:
            raise RuntimeError

    rig.sink.setFormatter(LineFormatter(as_json=True))
    outlet = Outlet(rig.sink)
    for odd in (event("odd", fields={"odd": Odd()}), event("%d keys", "three"), event("%s keys", Odd())):
        outlet.handle(odd)
    outlet.handle(event("well"))
    outlet.stop()
    fields, *arguments, well = [json.loads(line)["message"] for line in rig.path.read_text().splitlines()]
    assert "cannot be written" in fields
    assert arguments == [
        "vpnkeys.x: %d keys (its arguments do not fit)",
        "vpnkeys.x: %s keys (its arguments do not fit)",
    ]
    assert well == "well"


class SlowSink(logging.Handler):
    """Writes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Wait for the reader."""
        self.may.wait()
        self.said.append(record.getMessage())


def test_nobody_waits_for_a_pipe_that_nobody_reads() -> None:
    """What does not fit is counted; the count comes with the next line that gets through."""
    sink = SlowSink()
    outlet = Outlet(sink, waiting_max=10)
    for number in range(100):
        outlet.handle(event(str(number)))  # would hang here
    sink.may.set()
    assert wait_until(lambda: "9" in sink.said)
    outlet.handle(event("after"))
    outlet.stop()
    lost = next(line for line in sink.said if "are lost" in line)
    numbers = [line for line in sink.said if line.isdecimal()]
    assert numbers == [str(number) for number in range(len(numbers))]
    assert int(lost.split()[0]) == 100 - len(numbers)
    assert sink.said[-1] == "after"


def test_an_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is stuck delays the end of the server by seconds at most."""
    monkeypatch.setattr("vpnkeys.server.logwriter._LAST_WORDS_S", 0.05)
    sink = SlowSink()
    outlet = Outlet(sink, waiting_max=1)
    for _ in range(3):
        outlet.handle(event("x"))
    outlet.stop()
    assert not sink.said
    sink.may.set()


_STUCK = """
import logging
from vpnkeys.server.logs import logging_as_set
from vpnkeys.settings import load_settings

with logging_as_set(load_settings()):
    for _ in range(1000):
        logging.getLogger("vpnkeys.x").info("x" * 1000)
"""


def test_a_process_ends_though_nobody_reads_its_pipe(tmp_path: Path) -> None:
    """Neither the last words nor Python's own end of logging wait for the thread that is stuck in the write."""
    env = {**os.environ, "VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_LOG_FILE": str(tmp_path / "log")}
    with subprocess.Popen([sys.executable, "-c", _STUCK], env=env, stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert len((tmp_path / "log").read_text().splitlines()) == 1000


def load(tmp_path: Path, **given: str) -> Settings:
    """Settings with these, named without their prefix."""
    return load_settings({"VPNKEYS_DATA_DIR": str(tmp_path), **{f"VPNKEYS_{name}": given[name] for name in given}})


def test_the_settings(tmp_path: Path) -> None:
    """People, no file, info, if nothing is said; what is wrong is named."""
    found = load(tmp_path)
    assert (found.log_format, found.log_file, found.log_level) == ("human", None, "info")
    found = load(tmp_path, LOG_FORMAT="json", LOG_FILE="/x/log", LOG_LEVEL="error")
    assert (found.log_format, found.log_file, found.log_level) == ("json", Path("/x/log"), "error")
    for name in ("LOG_FORMAT", "LOG_LEVEL"):
        with pytest.raises(SettingsError, match=f"VPNKEYS_{name}"):
            load(tmp_path, **{name: "loud"})


@pytest.fixture
def _loggers_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("vpnkeys")
    levels = root.level, ours.level
    yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("_loggers_as_before")
def test_everybody_speaks_through_the_same_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Ours from the level that is set; others from warnings on; whatever ends a thread too. To stderr and the file."""
    settings = load(tmp_path, LOG_LEVEL="debug", LOG_FILE=str(tmp_path / "log"))
    with logging_as_set(settings):
        logging.getLogger("vpnkeys.x").debug("ours")
        logging.getLogger("uvicorn.error").info("theirs, too much")
        logging.getLogger("asyncio").warning("theirs from 192.0.2.9")
        thread = threading.Thread(target=lambda: int("x"), name="doomed")
        thread.start()
        thread.join()
    logging.getLogger("vpnkeys.x").error("nobody hears this")
    written = capfd.readouterr().err
    assert (tmp_path / "log").read_text() == written
    lines = [line.partition(" ")[2] for line in written.splitlines() if not line.startswith(" ")]
    assert lines[:2] == ["DEBUG   vpnkeys.x: ours", "WARNING asyncio: theirs from [address]"]
    assert lines[2].startswith("CRITICAL vpnkeys.log: thread doomed")
    assert len(lines) == 3
    assert "    ValueError: invalid literal for int()" in written


def test_the_journal_is_known_by_its_inode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JOURNAL_STREAM is inherited by children whose stderr is another one: it counts only when device and inode fit."""
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr("vpnkeys.server.logs._STDERR", stream.fileno())
        given = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(journal_stream(given))
        assert not is_journal(f"{status.st_dev}:{status.st_ino + 1}")
        assert not is_journal(journal_stream({}))


@pytest.mark.usefixtures("_loggers_as_before")
def test_the_journal_gets_priorities_and_no_times(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a clock of its own; the file has none, and keeps the times."""
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    with logging_as_set(load(tmp_path, LOG_FILE=str(tmp_path / "log"))):
        logging.getLogger("vpnkeys.x").info("well")
        logging.getLogger("vpnkeys.x").error("ill")
    assert capfd.readouterr().err == "<6>INFO    vpnkeys.x: well\n<3>ERROR   vpnkeys.x: ill\n"
    for line in (tmp_path / "log").read_text().splitlines():
        assert datetime.fromisoformat(line.split()[0]).tzinfo is UTC


@pytest.mark.usefixtures("_loggers_as_before")
def test_what_ends_the_server_is_said_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once, through the same net, and not by Python on the way out; an end that was asked for is silent."""
    with pytest.raises(SystemExit) as ended, logging_as_set(load(tmp_path)):
        raise RuntimeError("vless://secret")
    assert ended.value.code == 1
    with pytest.raises(SystemExit) as ended, logging_as_set(load(tmp_path)):
        raise SystemExit(0)
    assert ended.value.code == 0
    written = capfd.readouterr().err
    assert written.count("ended by an unexpected error; please report it") == 1
    assert "    RuntimeError: [link]" in written
