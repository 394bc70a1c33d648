"""The check that secret files belong to the server's user and that no other user can read them."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from vpnkeys.doctor.finding import Verdict, fail, ok
from vpnkeys.doctor.installation import Installation

_DIRECTORIES = ("", "run", "tls", "acme", "backups")
_SECRETS = (
    "vpnkeys.db*", "config.json*", ".config.*", "reality.json", "api-key.json", "vpnkeys.env",
    "tls/key.pem", "acme/key.pem", "acme/account.pem", "backups/*", "run/*.sock",
)  # fmt: skip
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret file or directory, its permissions and its owner."""

    path: Path
    mode: int
    uid: int


@dataclass(frozen=True, slots=True)
class PermissionFacts:
    """The secrets that exist, and the user that should own them."""

    secrets: tuple[Secret, ...]
    uid: int


def look(installation: Installation) -> PermissionFacts:
    """Return all secrets. The right owner is the running server's user, else the directory's owner. Raises OSError."""
    root = installation.data_dir
    directories = [root / name for name in _DIRECTORIES]
    files = [path for pattern in _SECRETS for path in sorted(root.glob(pattern))]
    secrets = [_secret(path) for path in dict.fromkeys([*directories, *files]) if path.exists()]
    owner = root if installation.pid is None else Path(f"/proc/{installation.pid}")
    return PermissionFacts(tuple(secrets), owner.stat().st_uid)


def judge(facts: PermissionFacts) -> Iterable[Verdict]:
    """Report exposed files and files of other owners; one command repairs all of a kind."""
    exposed = [secret for secret in facts.secrets if secret.mode & _OTHERS]
    misowned = [str(secret.path) for secret in facts.secrets if secret.uid != facts.uid]
    if exposed:
        shown = ", ".join(f"{secret.path} ({secret.mode:04o})" for secret in exposed)
        paths = [str(secret.path) for secret in exposed]
        yield fail(f"other users can access secrets of the server: {shown}", f"chmod go-rwx {shlex.join(paths)}")
    if misowned:
        words = f"not owned by the server's user (uid {facts.uid}): {', '.join(misowned)}"
        yield fail(words, f"chown {facts.uid} {shlex.join(misowned)}")
    if not exposed and not misowned:
        yield ok(f"only the server's user can access the {len(facts.secrets)} files and directories with secrets")


def _secret(path: Path) -> Secret:
    state = path.stat()
    return Secret(path, S_IMODE(state.st_mode), state.st_uid)
