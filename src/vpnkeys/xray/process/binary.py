"""Finds, downloads or builds the Xray program.

`obtain` tries, in this order: the configured one, `xray` on the PATH, our cached copy, the official release, a build
from source. Its error says why there is none and what to do next.
"""

import errno
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vpnkeys.domain.errors import Unavailable
from vpnkeys.files import sha256_of
from vpnkeys.xray.host.programs import answer_of
from vpnkeys.xray.process.gobuild import BuildFailed, Say, build, tell, work_folder
from vpnkeys.xray.process.tried import FIRST_UNFIT, MODULE, OLDEST_FIT, XRAY_VERSION, numbers

RELEASES = f"https://github.com/XTLS/Xray-core/releases/download/v{XRAY_VERSION}"

# Second-hand: not read from the release page, but from some twenty unrelated projects that pin the same digests.
RELEASE_DIGESTS = {
    "Xray-linux-64.zip": "23cd9af937744d97776ee35ecad4972cf4b2109d1e0fe6be9930467608f7c8ae",
    "Xray-linux-arm64-v8a.zip": "4d30283ae614e3057f730f67cd088a42be6fdf91f8639d82cb69e48cde80413c",
}
RELEASE_NAMES = {"x86_64": "Xray-linux-64.zip", "aarch64": "Xray-linux-arm64-v8a.zip"}

# The build is reproducible (-trimpath, empty build id): the same Go and architecture make the same bytes.
BUILD_DIGESTS = {("go1.26.6", "x86_64"): "b834e71c9343bb15bc8ec35f429e3a04764e853c546e605b27a3d76b99916013"}

CONNECT_TIMEOUT_S = 4.0  # short, for machines without internet
READ_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 10.0

_HINTS = {
    errno.EACCES: f" (make it executable: chmod +x; and let user {os.geteuid()} reach it)",
    errno.ENOEXEC: f" (it is no program for this machine, {platform.machine()})",
}

_ACCEPTED = "xray.accepted"

_FIRST_LINE = re.compile(r"Xray (\d+\.\d+\.\d+) \([^()]+\) \S+ \(go[^()]+\)")

Source = Literal["configured", "path", "cache", "release", "go"]


class XrayUnfit(Unavailable):
    """Raised when there is no Xray program that this version can use; the message says what to do."""

    code = "xray_unfit"


@dataclass(frozen=True, slots=True)
class XrayBinary:
    """An Xray program that was run once and has a supported version."""

    path: Path
    version: str
    source: Source


def obtain(configured: Path | None, say: Say = tell, *, cache_dir: Path | None = None) -> XrayBinary:
    """Return the Xray to use; `say` receives progress and warnings as lines. Raises XrayUnfit."""
    if configured is not None:
        return _configured(configured, say)
    if found := _on_path(say):
        return found
    folder = cache_dir or default_cache_dir()
    try:
        with work_folder(folder, say) as work:
            return _cached(folder, say) or _fetched(folder, work, say)
    except OSError as error:
        raise XrayUnfit(f"Xray cannot be kept in {folder}: {error}. Set VPNKEYS_XRAY_BIN to an Xray binary.") from error


def default_cache_dir() -> Path:
    """Return the folder of our copy, which all installations of this user share (XDG_CACHE_HOME)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.expanduser raises without a home directory
    return Path(base) / "vpnkeys" / "xray" / XRAY_VERSION


def _configured(path: Path, say: Say) -> XrayBinary:
    program = path.expanduser().absolute()
    try:
        version = _accepted_version(program, say) or _fit_version(program, say)
        return XrayBinary(program, version, "configured")
    except XrayUnfit as error:
        raise XrayUnfit(
            f"VPNKEYS_XRAY_BIN: {error} Set it to an Xray from {OLDEST_FIT} up to, but not including, {FIRST_UNFIT}; "
            f"or leave it out, and Xray {XRAY_VERSION} is found or fetched."
        ) from error


def _on_path(say: Say) -> XrayBinary | None:
    name = shutil.which("xray")
    if name is None:
        return None
    program = Path(name).absolute()
    try:
        return XrayBinary(program, _fit_version(program, say), "path")
    except XrayUnfit as error:
        say(f"The xray on the PATH is passed over: {error}")
        return None


def _cached(folder: Path, say: Say) -> XrayBinary | None:
    program, record = folder / "xray", folder / "xray.sha256"
    if not program.exists():
        return None
    # The digest lies beside the program: it detects a damaged or partial copy, not an attacker, who would change both.
    if not record.exists() or record.read_text() != _record(program):
        say(f"{program} was changed or damaged. It is removed and obtained again.")
    elif not _is_pinned(program, say):
        say(f"{program} is removed and Xray obtained again.")
    else:
        return XrayBinary(program, XRAY_VERSION, "cache")
    program.unlink()
    return None


def _fetched(folder: Path, work: Path, say: Say) -> XrayBinary:
    ways: dict[Source, Callable[[Path, Say], Path | None]] = {"release": _from_release, "go": _from_source}
    for source, fetch in ways.items():
        program = fetch(work, say)
        if program is not None and _is_pinned(program, say):
            (work / "record").write_text(_record(program))
            (work / "record").replace(folder / "xray.sha256")
            return XrayBinary(program.replace(folder / "xray"), XRAY_VERSION, source)
    raise XrayUnfit(
        f"Xray {XRAY_VERSION} could be neither downloaded nor built; the lines above say why. "
        "Put one on this machine and set VPNKEYS_XRAY_BIN to its path."
    )


def _from_release(work: Path, say: Say) -> Path | None:
    name = RELEASE_NAMES.get(platform.machine())
    if name is None or sys.platform != "linux":
        return None
    archive = work / name
    if not _download(f"{RELEASES}/{name}", archive, say):
        return None
    digest = sha256_of(archive)
    if digest != RELEASE_DIGESTS[name]:
        archive.unlink()
        say(f"{name} is refused and deleted: its SHA-256 is {digest}, not {RELEASE_DIGESTS[name]}.")
        return None
    program = work / "xray"
    with zipfile.ZipFile(archive) as opened:
        program.write_bytes(opened.read("xray"))
    program.chmod(0o755)  # ZipFile.read gives bytes without the mode
    return program


def _download(url: str, into: Path, say: Say) -> bool:
    import httpx  # noqa: PLC0415 - 0.1 s of import, only needed without a local Xray

    say(f"Downloading Xray {XRAY_VERSION} from its release page.")
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as answer, into.open("wb") as file:
            answer.raise_for_status()
            total, told = int(answer.headers.get("Content-Length", 0)), 0
            for piece in answer.iter_bytes():
                file.write(piece)
                percent = 100 * answer.num_bytes_downloaded // total if total else 0
                if percent >= told + 25:
                    told = percent
                    say(f"Downloading Xray: {percent} %")
    except httpx.HTTPError as error:
        say(f"The download failed ({error}).")
        return False
    return True


def _from_source(work: Path, say: Say) -> Path | None:
    try:
        built = build(MODULE, work, say)
    except BuildFailed as error:
        say(str(error))
        return None
    known, digest = BUILD_DIGESTS.get((built.go, platform.machine())), sha256_of(built.path)
    if known not in (None, digest):
        say(f"The build is refused: its SHA-256 is {digest}, but {built.go} makes {known} of this source.")
        return None
    return built.path


def _is_pinned(program: Path, say: Say) -> bool:
    """Return whether a program that we obtained has exactly the pinned version."""
    try:
        version = version_of(program, say)
    except XrayUnfit as error:
        say(str(error))
        return False
    if version != XRAY_VERSION:
        say(f"{program} is refused: it is Xray {version}, not {XRAY_VERSION}.")
    return version == XRAY_VERSION


def accept(program: Path) -> None:
    """Record that the operator wants this program whatever its version is. Raises OSError."""
    (program.parent / _ACCEPTED).write_text(_record(program))


def _accepted_version(program: Path, say: Say) -> str | None:
    """Return the version of a program that `accept` was called for, or None for any other."""
    file = program.resolve()
    try:
        is_accepted = (file.parent / _ACCEPTED).read_text() == _record(file)
    except OSError:
        return None
    return version_of(program, say) if is_accepted else None


def _fit_version(program: Path, say: Say) -> str:
    version = version_of(program, say)
    if not numbers(OLDEST_FIT) <= numbers(version) < numbers(FIRST_UNFIT):
        raise XrayUnfit(f"{program} is Xray {version}.")
    return version


def version_of(program: Path, say: Say = lambda _line: None) -> str:
    """Return the version that the program itself prints, such as "26.3.27". Raises XrayUnfit."""
    try:
        answer = answer_of([program, "version"], within_s=ANSWER_TIMEOUT_S, say=say)
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise XrayUnfit(f"{program} cannot be run: {error.strerror}{hint}.") from error
    except subprocess.TimeoutExpired as error:
        raise XrayUnfit(f"{program} did not say its version within {ANSWER_TIMEOUT_S:.0f} s: it hangs.") from error
    found = _FIRST_LINE.fullmatch(answer.stdout.partition("\n")[0])
    if answer.returncode or found is None:
        raise XrayUnfit(f"{program} does not say its version as Xray does.")
    return found[1]


def _record(program: Path) -> str:
    """Return the program's digest as a line that `sha256sum -c` reads."""
    return f"{sha256_of(program)}  xray\n"


def main(arguments: list[str]) -> int:
    """Print the path of the Xray to use, and return the exit status; the optional argument is the configured path."""
    configured = Path(arguments[0]) if arguments and arguments[0] else None
    try:
        found = obtain(configured)
    except XrayUnfit as error:
        tell(str(error))
        return 1
    sys.stdout.write(f"{found.path}\n")
    return 0
