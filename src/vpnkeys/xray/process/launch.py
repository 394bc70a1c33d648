"""Prepares the start of an Xray that runs as a unit of its own, not as the server's child, and records it.

Imports are few, because this runs at each start of Xray while customers wait.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.files import write_atomically
from vpnkeys.rundir import API_SOCKET, ensure_run_dir, is_listening
from vpnkeys.xray.config.file import base_digest
from vpnkeys.xray.config.pieces import JsonObject
from vpnkeys.xray.config.reading import read_document
from vpnkeys.xray.config.start import StartFile
from vpnkeys.xray.host.guard import Guard, GuardImpossible
from vpnkeys.xray.host.nft import NftImpossible, nft
from vpnkeys.xray.host.processes import epoch_of
from vpnkeys.xray.process.child import STABLE_AFTER_S, unlink_all

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Start:
    """The record of one start of Xray.

    `epoch` names the process life, `base` is the `base_digest` of config.json, `quick_exits` the number of quick exits
    in a row before it, `at_s` the time in seconds since 1970, `is_bare` whether the operator's sections were left out.
    """

    epoch: str
    base: str
    quick_exits: int
    at_s: float
    is_bare: bool = False


def record_path(run: Path) -> Path:
    """Return the path of the record of the last start."""
    return run / "xray.json"


def last_start(run: Path) -> Start | None:
    """Return the record of the last start; None when there is none or it cannot be read."""
    try:
        return Start(**orjson.loads(record_path(run).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def xray_environment(ca_file: Path | None) -> dict[str, str]:
    """Return the environment for Xray: none of our secrets, and the certificates to trust in targets."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TZ"}}
    # Spliced bytes are counted when their connection ends, which may be hours later (docs/adr/0005-live-traffic.md).
    environment["XRAY_BUF_SPLICE"] = "disable"
    if ca_file is not None:
        environment["SSL_CERT_FILE"] = str(ca_file)
    return environment


def sockets_in(run: Path, name_count: int) -> tuple[Path, ...]:
    """Return the Unix sockets of an Xray with so many server names: the API's, then one for each name."""
    return (run / API_SOCKET, *(run / f"warm-{index}.sock" for index in range(name_count)))


@dataclass(frozen=True, slots=True)
class Launcher:
    """Prepares one start of Xray, in the process that then executes it. `say` receives what it waits for."""

    data_dir: Path
    sockets: tuple[Path, ...]
    guard: Guard
    file: StartFile
    say: Callable[[str], None]
    memory: Path | None = None

    def prepare(self) -> Path:
        """Wait until Xray may start, remove old sockets and record the start; return the file to start with.

        Raises XrayUnavailable when an Xray runs already: two would share each port (SO_REUSEPORT) and the API's socket;
        OSError when sockets cannot be made.
        """
        document = self._wait()
        if is_listening(self.sockets[0]):
            msg = f"An Xray runs on {self.data_dir} already; stop it first, or do not start another one."
            raise XrayUnavailable(msg)
        ensure_run_dir(self.sockets[0].parent, self.memory)
        unlink_all(self.sockets)
        return self._note(document)

    def _wait(self) -> JsonObject:
        """Return config.json as soon as Xray may start with it; it is read every 0.2 s, as the server may change it."""
        said = ""
        while True:
            document = _read(self.data_dir / "config.json")
            reason = self._reason_to_wait(document)
            if document is not None and not reason:
                return document
            if reason != said:
                self.say(f"Xray waits {reason}")
            said = reason
            time.sleep(_LOOK_EVERY_S)

    def _reason_to_wait(self, document: JsonObject | None) -> str:
        if document is None:
            return f"for a config.json in {self.data_dir}, which the server writes when it starts (vpnkeys serve)"
        if marks(document, self.guard.policy.mark) and (why := self._missing_guard()):
            return f"for the kernel's guard: run it as root or with CAP_NET_ADMIN, and the server too ({why})"
        return ""

    def _missing_guard(self) -> str:
        """Return why the kernel's filter cannot be installed; "" when it is there."""
        # An Xray that marks packets relies on the filter, also after a boot, when it may start before the server. A
        # process without the right to install it has no right to mark packets either (CAP_NET_ADMIN for both).
        with suppress(NftImpossible):
            nft("list", "table", "inet", self.guard.table)
            return ""  # the server's own, which the server also restores
        try:
            self.guard.install()
        except GuardImpossible as error:
            return str(error)
        return ""

    def _note(self, document: JsonObject) -> Path:
        run = self.sockets[0].parent
        now_s = time.time()
        quick_exits = quick_exits_before(last_start(run), now_s, base_digest(document))
        # execve(2) keeps the process id and its start time, so this is the epoch of Xray as well.
        file = self.file.choose(quick_exits, document)
        start = Start(epoch_of(os.getpid()), file.base, quick_exits, now_s, file.is_bare)
        with suppress(OSError):  # a full disk: the server restarts an Xray without a record once, customers come first
            write_atomically(record_path(run), orjson.dumps(asdict(start)))
        return file.path


def quick_exits_before(last: Start | None, now_s: float, base: str) -> int:
    """Return the number of quick exits in a row before a start at this time, with the same sections around the keys."""
    # A restart on request removes the record, and so does not count. A negative age is a clock that was set back.
    if last is None or not 0 <= now_s - last.at_s < STABLE_AFTER_S:
        return 0
    return last.quick_exits + 1 if last.base in ("", base) else 0


def marks(document: JsonObject, mark: int) -> bool:
    """Return whether any outbound marks its packets with this mark."""
    for outbound in document.get("outbounds") or ():
        with suppress(KeyError, TypeError):
            if outbound["streamSettings"]["sockopt"]["mark"] == mark:
                return True
    return False


def _read(path: Path) -> JsonObject | None:
    try:
        return read_document(path)
    except OSError:
        return None
