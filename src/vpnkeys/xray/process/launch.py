"""The start of an Xray that is not the server's child: by itself, with the right file, and with a note of how it was.

Little is imported here: it is run at each start of Xray, with customers waiting.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.portpool import PortRange
from vpnkeys.files import write_atomically
from vpnkeys.xray.config.document import JsonObject
from vpnkeys.xray.config.file import base_digest, read_document, without_what_cannot_listen
from vpnkeys.xray.host.guard import Guard, GuardImpossible
from vpnkeys.xray.host.nft import NftImpossible, nft
from vpnkeys.xray.host.processes import epoch_of
from vpnkeys.xray.process.child import GROWN_UP_S, unlink_all

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Start:
    """One start of Xray.

    `epoch` names the process life, `base` all that config.json said beside the keys (`base_digest`), `quick_exits` how
    often in a row an Xray had ended young before, `at_s` are seconds since 1970.
    """

    epoch: str
    base: str
    quick_exits: int
    at_s: float


def note_in(run: Path) -> Path:
    """Where the last start is noted."""
    return run / "xray.json"


def last_start(run: Path) -> Start | None:
    """The last start that was noted; None when there is none, or none that can be read."""
    try:
        return Start(**orjson.loads(note_in(run).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def xray_environment(ca_file: Path | None) -> dict[str, str]:
    """What Xray sees of our environment: no secret of ours, and the certificates it should trust in targets."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TZ"}}
    # Spliced bytes are counted when their connection ends, which may be hours later (docs/adr/0005-live-traffic.md).
    environment["XRAY_BUF_SPLICE"] = "disable"
    if ca_file is not None:
        environment["SSL_CERT_FILE"] = str(ca_file)
    return environment


def sockets_in(run: Path, name_count: int) -> tuple[Path, ...]:
    """The Unix sockets of an Xray with so many server names; the API's is the first."""
    return (run / "api.sock", *(run / f"warm-{index}.sock" for index in range(name_count)))


@dataclass(frozen=True, slots=True)
class Launcher:
    """Prepares one start of Xray, in the process that then becomes it. `say` hears what is being waited for."""

    data_dir: Path
    pool: PortRange
    sockets: tuple[Path, ...]
    guard: Guard
    say: Callable[[str], None]

    def prepare(self) -> Path:
        """Wait until Xray may start, tidy up, and note the start; the file to start with.

        Raises XrayUnavailable when an Xray runs already: two would share each port, and one API socket.
        """
        document = self._wait()
        if _answers(self.sockets[0]):
            msg = f"An Xray runs on {self.data_dir} already; end it first, or leave it to whoever started it."
            raise XrayUnavailable(msg)
        unlink_all(self.sockets)
        return self._note(document)

    def _wait(self) -> JsonObject:
        """The document, as soon as Xray may be started with it; read again and again, as the server may change it."""
        told = ""
        while True:
            document = _read(self.data_dir / "config.json")
            obstacle = self._obstacle(document)
            if document is not None and not obstacle:
                return document
            if obstacle != told:
                self.say(f"Xray waits {obstacle}")
            told = obstacle
            time.sleep(_LOOK_EVERY_S)

    def _obstacle(self, document: JsonObject | None) -> str:
        if document is None:
            return f"for a config.json in {self.data_dir}, which the server writes when it starts (vpnkeys serve)"
        if _marks(document, self.guard.policy.mark) and (why := self._obstacle_to_guard()):
            return f"for the kernel's guard: run it as root or with CAP_NET_ADMIN, and the server too ({why})"
        return ""

    def _obstacle_to_guard(self) -> str:
        """An Xray that marks packets relies on the kernel to judge them, also before the server is back after a boot.

        Where this process may not ask the kernel, Xray may not mark packets either, and would carry nothing.
        """
        with suppress(NftImpossible):
            nft("list", "table", "inet", self.guard.table)
            return ""  # the server's own, which it also keeps right
        try:
            self.guard.install()
        except GuardImpossible as error:
            return str(error)
        return ""

    def _note(self, document: JsonObject) -> Path:
        run = self.data_dir / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        now_s = time.time()
        quick_exits = young_deaths_before(last_start(run), now_s)
        # Becoming another program changes neither the process id nor the time of its start.
        start = Start(epoch_of(os.getpid()), base_digest(document, self.pool), quick_exits, now_s)
        write_atomically(note_in(run), orjson.dumps(asdict(start)))
        return self._file(document, quick_exits)

    def _file(self, document: JsonObject, quick_exits: int) -> Path:
        """config.json; after a young death, one without the inbounds that would keep Xray from starting."""
        if quick_exits == 0:
            return self.data_dir / "config.json"
        path = self.data_dir / ".config.start.json"
        write_atomically(path, orjson.dumps(without_what_cannot_listen(document, self.pool)))
        return path


def young_deaths_before(last: Start | None, now_s: float) -> int:
    """How often in a row Xray ended young before a start at this time; a start that was asked for left no note."""
    if last is None or not 0 <= now_s - last.at_s < GROWN_UP_S:
        return 0
    return last.quick_exits + 1


def _marks(document: JsonObject, mark: int) -> bool:
    """Whether any outbound puts this mark on what it sends."""
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


def _answers(api_socket: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(1.0)
        try:
            peer.connect(os.fspath(api_socket))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # somebody is there and has no time
    return True
