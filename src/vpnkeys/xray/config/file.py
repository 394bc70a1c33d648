"""config.json on disk: read as it is, replaced as a whole."""

import hashlib
import logging
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from vpnkeys.domain.errors import ConfigRefused, ConfigUnwritable
from vpnkeys.domain.inbound import AnyInbound, ForeignInbound, Inbound
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.portpool import PortRange
from vpnkeys.files import Mark, write_atomically
from vpnkeys.xray.config.document import (
    API_TAG,
    BaseConfig,
    JsonObject,
    belongs_to_us,
    merge,
    parse_inbound,
    summary,
)
from vpnkeys.xray.host.sockets import is_free

_log = logging.getLogger(__name__)

Checker = Callable[[Path], None]
"""Raises ConfigRefused when Xray would not start with this file."""

_CHECK_TIMEOUT_S = 20.0


def xray_checker(xray: Path) -> Checker:
    """A checker that asks `xray run -test`, Xray's own word."""

    def check(path: Path) -> None:
        command = [str(xray), "run", "-test", "-format", "json", "-c", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"Xray's own test of config.json could not be run: {error}"
            raise ConfigRefused(msg) from error
        if done.returncode != 0:
            lines = (done.stderr + done.stdout).strip().splitlines() or ["no reason given"]
            msg = f"Xray refuses config.json: {lines[-1]}"
            raise ConfigRefused(msg)

    return check


@dataclass(frozen=True, slots=True)
class ConfigDraft:
    """A whole config.json that may be written, and a digest of what is around its inbounds of keys."""

    document: JsonObject
    content: bytes
    around: str


@dataclass(slots=True)
class ConfigFile:
    """Xray's config.json. `check` is asked about everything that is new in it but our own well-known inbounds."""

    path: Path
    base: BaseConfig
    check: Checker
    _checked: str = field(default="", init=False)
    _written: tuple[Mark | None, JsonObject] = field(default=(None, {}), init=False)

    def read(self) -> FileView:
        """What the file says now."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return FileView(FileState.MISSING, {}, problem="config.json is missing")
        except OSError as error:
            return FileView(FileState.INVALID, {}, problem=f"config.json cannot be read: {error.strerror}")
        document = _parse(content)
        if document is None:
            return FileView(FileState.INVALID, {}, problem="config.json is not a JSON object with a list of inbounds")
        return self._view(document)

    def _view(self, document: JsonObject) -> FileView:
        ours: dict[str, AnyInbound] = {}
        foreign: list[ForeignInbound] = []
        api_inbounds = 0
        for raw in document["inbounds"]:
            if raw.get("tag") == API_TAG:
                api_inbounds += 1
            elif not belongs_to_us(raw, self.base.pool):
                foreign.append(summary(raw))
            else:
                inbound = parse_inbound(raw)
                # Of two with one tag neither can be told to be the right one.
                ours[inbound.tag] = summary(raw) if inbound.tag in ours else inbound
        rendered = [inbound for inbound in ours.values() if isinstance(inbound, Inbound)]
        return FileView(
            FileState.OK,
            ours,
            tuple(foreign),
            base_ok=self._frame_of(document, rendered),
            api_inbounds=api_inbounds,
        )

    def _frame_of(self, document: JsonObject, inbounds: list[Inbound]) -> bool:
        """Whether the rest is as we would write it: the same document comes out when ours is put in again."""
        again = merge(document, self.base, inbounds)
        return skeleton(again, self.base.pool) == skeleton(document, self.base.pool)

    def write(self, inbounds: tuple[Inbound, ...], *, always_check: bool = False) -> None:
        """Put our parts into the file, atomically and durably, and leave the operator's sections as they are.

        Xray's own test comes first, unless nothing but well-formed inbounds of ours changed since the last one: those
        are proven against Xray's converter, and taking 16 ms for each key would be the largest part of making one.
        Raises ConfigUnwritable or ConfigRefused; then the file is the old one.
        """
        self.put(self.draft(inbounds, always_check=always_check))

    def draft(self, inbounds: tuple[Inbound, ...], *, always_check: bool = False) -> ConfigDraft:
        """What `write` would write, checked as it says. Raises ConfigUnwritable or ConfigRefused."""
        with self._explained():
            document = self._document()
            merged = merge(document, self.base, inbounds)
            around = base_digest(merged, self.base.pool)
            content = _rendered(merged)
            if always_check or around != self._checked:
                self._try_out(content)
            return ConfigDraft(merged, content, around)

    def put(self, draft: ConfigDraft) -> None:
        """Bring a draft to the disk, which is mostly waiting. Raises ConfigUnwritable; then the file is the old one."""
        with self._explained():
            mark = write_atomically(self.path, draft.content)
            self._checked, self._written = draft.around, (mark, draft.document)

    def test(self, inbounds: tuple[Inbound, ...]) -> None:
        """Let Xray test what `write` would write. Raises ConfigUnwritable or ConfigRefused; the file stays as it is."""
        with self._explained():
            self._try_out(_rendered(merge(self._document(), self.base, inbounds)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"config.json cannot be written in {self.path.parent}: {error.strerror}; nothing was changed."
            raise ConfigUnwritable(msg) from error

    def _try_out(self, content: bytes) -> None:
        trial = self.path.with_name(".config.trial.json")
        try:
            write_atomically(trial, content)
            self.check(trial)
        finally:
            trial.unlink(missing_ok=True)

    def _document(self) -> JsonObject:
        """The present document, or an empty one. What cannot be read is kept beside it for its owner.

        Reading back what we wrote ourselves would take longer than writing it did.
        """
        mark, document = self._written
        try:
            if Mark.of(self.path.stat()) == mark:
                return document
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        found = _parse(content)
        if found is None:
            aside = self.path.with_name("config.json.broken")
            write_atomically(aside, content)
            _log.warning("config.json was unreadable; it is kept as %s and written anew", aside.name)
            return {}
        return found

    def set_aside(self) -> None:
        """Move a file that Xray refuses out of the way; it is kept for its owner."""
        aside = self.path.with_name("config.json.refused")
        with suppress(FileNotFoundError):
            self.path.replace(aside)
            _log.error("Xray refuses config.json with what was added to it; it is kept as %s", aside.name)

    def start_file(self, quick_exits: int) -> Path:
        """Return the file to start Xray with: config.json; after a start that failed, one that is able to start."""
        if quick_exits == 0 or self.read().state is not FileState.OK:
            return self.path
        document = without_what_cannot_listen(self._document(), self.base.pool)
        inbounds = [one for one in self._view(document).inbounds.values() if isinstance(one, Inbound)]
        path = self.path.with_name(".config.start.json")
        write_atomically(path, orjson.dumps(merge(document, self.base, inbounds)))
        return path


def read_document(path: Path) -> JsonObject | None:
    """What stands in config.json; None while it is missing or no configuration. Raises OSError."""
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return None


def _parse(content: bytes) -> JsonObject | None:
    """The document, or None unless it is an object whose inbounds, if any, are a list of objects."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    inbounds = document.setdefault("inbounds", [])
    if not isinstance(inbounds, list) or not all(isinstance(raw, dict) for raw in inbounds):
        return None
    return document


def _rendered(document: JsonObject) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def skeleton(document: JsonObject, pool: PortRange) -> JsonObject:
    """The document without the inbounds of keys, and with the tags of the rest in order."""
    kept = [raw for raw in document["inbounds"] if raw.get("tag") == API_TAG or not belongs_to_us(raw, pool)]
    return {**document, "inbounds": kept}


def base_digest(document: JsonObject, pool: PortRange) -> str:
    """Return a digest of what only a restart of Xray would change: everything but the inbounds of keys."""
    around = orjson.dumps(skeleton(document, pool), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(around).hexdigest()


def without_what_cannot_listen(document: JsonObject, pool: PortRange) -> JsonObject:
    """Return the document without those of our inbounds for which Xray would not start at all.

    They are damaged, have one tag twice, or another program has their port. The server adds the missing ones live,
    where each fails for itself.
    """
    inbounds = document["inbounds"]
    tags = Counter(str(raw.get("tag")) for raw in inbounds)
    kept = [
        raw
        for raw in inbounds
        if raw.get("tag") == API_TAG
        or not belongs_to_us(raw, pool)
        or (tags[str(raw.get("tag"))] == 1 and _can_listen(raw))
    ]
    return {**document, "inbounds": kept}


def _can_listen(raw: JsonObject) -> bool:
    inbound = parse_inbound(raw)
    return isinstance(inbound, Inbound) and (inbound.port is None or is_free(inbound.port))
