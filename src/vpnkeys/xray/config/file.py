"""Reads config.json, and replaces it as a whole."""

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
"""Checks a file; raises ConfigRefused when Xray would not start with it."""

_CHECK_TIMEOUT_S = 20.0


def xray_checker(xray: Path) -> Checker:
    """Return a checker that runs `xray run -test`, which takes 16 ms (measured, 26.3.27)."""
    # It finds bad JSON, bad short ids, doubled tags and emails, but no doubled ports; those are our own to prevent.

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
    """A config.json that was checked: parsed, as bytes, and `around`, the digest of all but the inbounds of keys."""

    document: JsonObject
    content: bytes
    around: str


@dataclass(slots=True)
class ConfigFile:
    """Xray's config.json. `check` is called before a write, unless only inbounds of our own have changed."""

    path: Path
    base: BaseConfig
    check: Checker
    _checked: str = field(default="", init=False)
    _written: tuple[Mark | None, JsonObject] = field(default=(None, {}), init=False)

    def read(self) -> FileView:
        """Return what the file contains now; a damaged or missing file is a state, not an error."""
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
                # Of two inbounds with one tag it is unknown which Xray would run, so neither counts as ours.
                ours[inbound.tag] = summary(raw) if inbound.tag in ours else inbound
        rendered = [inbound for inbound in ours.values() if isinstance(inbound, Inbound)]
        return FileView(
            FileState.OK,
            ours,
            tuple(foreign),
            base_ok=self._is_base_intact(document, rendered),
            api_inbounds=api_inbounds,
        )

    def _is_base_intact(self, document: JsonObject, inbounds: list[Inbound]) -> bool:
        """Return whether all but the inbounds is as we write it: merging our parts again changes nothing."""
        again = merge(document, self.base, inbounds)
        return skeleton(again, self.base.pool) == skeleton(document, self.base.pool)

    def write(self, inbounds: tuple[Inbound, ...], *, always_check: bool = False) -> None:
        """Replace our parts of the file, atomically and durably; the operator's sections stay as they are.

        The file is checked first, unless only inbounds of our own have changed since the last check: their form is
        proven against Xray's converter, and 16 ms would be the largest part of creating a key (docs/adr/0001).
        Raises ConfigUnwritable or ConfigRefused; the file is unchanged then.
        """
        self.put(self.draft(inbounds, always_check=always_check))

    def draft(self, inbounds: tuple[Inbound, ...], *, always_check: bool = False) -> ConfigDraft:
        """Return what `write` would write, checked in the same way. Raises ConfigUnwritable or ConfigRefused."""
        with self._as_unwritable():
            document = self._document()
            merged = merge(document, self.base, inbounds)
            around = base_digest(merged, self.base.pool)
            content = _rendered(merged)
            if always_check or around != self._checked:
                self._check_content(content)
            return ConfigDraft(merged, content, around)

    def put(self, draft: ConfigDraft) -> None:
        """Write a draft and sync it to disk. Raises ConfigUnwritable; the file is unchanged then."""
        with self._as_unwritable():
            mark = write_atomically(self.path, draft.content)
            self._checked, self._written = draft.around, (mark, draft.document)

    def test(self, inbounds: tuple[Inbound, ...]) -> None:
        """Check what `write` would write, without writing it. Raises ConfigUnwritable or ConfigRefused."""
        with self._as_unwritable():
            self._check_content(_rendered(merge(self._document(), self.base, inbounds)))

    @contextmanager
    def _as_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"config.json cannot be written in {self.path.parent}: {error.strerror}; nothing was changed."
            raise ConfigUnwritable(msg) from error

    def _check_content(self, content: bytes) -> None:
        # In the same directory, so that a full disk or a missing permission is found before the file is replaced.
        trial = self.path.with_name(".config.trial.json")
        try:
            write_atomically(trial, content)
            self.check(trial)
        finally:
            trial.unlink(missing_ok=True)

    def _document(self) -> JsonObject:
        """Return the present document, or an empty one; an unreadable file is kept as config.json.broken."""
        # What we wrote ourselves is known by its inode, size and time: reading 47 kB back for each key took longer than
        # writing it (docs/adr/0014-speed.md).
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
            _log.warning("config.json was unreadable; it is kept as %s and a new one is written", aside.name)
            return {}
        return found

    def set_aside(self) -> None:
        """Rename a file that Xray refuses to config.json.refused, where the operator can correct it."""
        aside = self.path.with_name("config.json.refused")
        with suppress(FileNotFoundError):
            self.path.replace(aside)
            _log.error(
                "Xray refuses sections that were added to config.json; the file is kept as %s, correct them there",
                aside.name,
            )

    def start_file(self, quick_exits: int) -> Path:
        """Return the file to start Xray with: config.json, or after a quick exit one without unusable inbounds."""
        # Xray exits when a single inbound cannot listen, and would take every other key down with it.
        if quick_exits == 0 or self.read().state is not FileState.OK:
            return self.path
        document = without_what_cannot_listen(self._document(), self.base.pool)
        inbounds = [one for one in self._view(document).inbounds.values() if isinstance(one, Inbound)]
        path = self.path.with_name(".config.start.json")
        write_atomically(path, orjson.dumps(merge(document, self.base, inbounds)))
        return path


def read_document(path: Path) -> JsonObject | None:
    """Return the parsed config.json; None when it is missing or no configuration. Raises OSError."""
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return None


def _parse(content: bytes) -> JsonObject | None:
    """Return the document; None unless it is an object whose inbounds, if any, are a list of objects."""
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
    """Return the document without our own inbounds, but with the API's; the order of the others is kept."""
    kept = [raw for raw in document["inbounds"] if raw.get("tag") == API_TAG or not belongs_to_us(raw, pool)]
    return {**document, "inbounds": kept}


def base_digest(document: JsonObject, pool: PortRange) -> str:
    """Return the SHA-256 of what only a restart of Xray applies: everything but the inbounds of keys."""
    around = orjson.dumps(skeleton(document, pool), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(around).hexdigest()


def without_what_cannot_listen(document: JsonObject, pool: PortRange) -> JsonObject:
    """Return the document without those of our inbounds that keep Xray from starting.

    They are damaged, share a tag, or another program uses their port. The server adds them over gRPC after the start,
    where each fails alone.
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
