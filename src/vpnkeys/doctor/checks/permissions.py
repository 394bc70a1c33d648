"""Secrets are for the server's user alone."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from vpnkeys.doctor.finding import Verdict, fail, ok
from vpnkeys.doctor.installation import Installation

_DIRECTORIES = ("", "run", "tls", "backups")
_SECRETS = (
    "vpnkeys.db*", "config.json*", ".config.*", "reality.json", "api-key.json", "vpnkeys.env",
    "tls/key.pem", "backups/*", "run/*.sock",
)  # fmt: skip
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Secret:
    """A file or directory, its permissions and the user that it belongs to."""

    path: Path
    mode: int
    uid: int


@dataclass(frozen=True, slots=True)
class PermissionFacts:
    """What is there, and the user that it should belong to."""

    secrets: tuple[Secret, ...]
    uid: int


def look(place: Installation) -> PermissionFacts:
    """The server's user is the one that it runs as, else the one to whom its directory belongs. Raises OSError."""
    root = place.data_dir
    directories = [root / name for name in _DIRECTORIES]
    files = [path for pattern in _SECRETS for path in sorted(root.glob(pattern))]
    secrets = [_secret(path) for path in dict.fromkeys([*directories, *files]) if path.exists()]
    owner = root if place.pid is None else Path(f"/proc/{place.pid}")
    return PermissionFacts(tuple(secrets), owner.stat().st_uid)


def judge(facts: PermissionFacts) -> Iterable[Verdict]:
    """Everything that has one fault is mended at once."""
    exposed = [secret for secret in facts.secrets if secret.mode & _OTHERS]
    strange = [str(secret.path) for secret in facts.secrets if secret.uid != facts.uid]
    if exposed:
        shown = ", ".join(f"{secret.path} ({secret.mode:04o})" for secret in exposed)
        paths = [str(secret.path) for secret in exposed]
        yield fail(f"others can get at what is the server's alone: {shown}", f"chmod go-rwx {shlex.join(paths)}")
    if strange:
        words = f"not of the user that the server runs as (uid {facts.uid}): {', '.join(strange)}"
        yield fail(words, f"chown {facts.uid} {shlex.join(strange)}")
    if not exposed and not strange:
        yield ok(f"{len(facts.secrets)} files and directories are for the server's user alone")


def _secret(path: Path) -> Secret:
    state = path.stat()
    return Secret(path, S_IMODE(state.st_mode), state.st_uid)
