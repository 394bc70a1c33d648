"""Reads config.json, and replaces it as a whole."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from vpnkeys.domain.errors import ConfigRefused, ConfigUnwritable
from vpnkeys.domain.inbound import AnyInbound, ForeignInbound, Inbound
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.files import Mark, write_atomically
from vpnkeys.xray.config.aside import Aside, keep_aside
from vpnkeys.xray.config.check import Checker, ConfigUntested
from vpnkeys.xray.config.document import (
    API_TAG,
    BaseConfig,
    JsonObject,
    belongs_to_us,
    merge,
    parse_inbound,
    reserved_ports,
    summary,
)
from vpnkeys.xray.config.reading import parse_config, read_document
from vpnkeys.xray.host import ports

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConfigDraft:
    """A config.json that was checked: parsed, as bytes, and `around`, the digest of all but the inbounds of keys.

    `refusal` is Xray's error about the operator's sections; "" when Xray accepts the whole.
    """

    document: JsonObject
    content: bytes
    around: str
    refusal: str = ""


@dataclass(slots=True)
class ConfigFile:
    """Xray's config.json. `check` is called before a write, unless only inbounds of our own have changed.

    `refusal` is Xray's error about the operator's sections in the file that was written last, "" when there is none;
    `started_base` the `base_digest` with which this server started Xray last.
    """

    path: Path
    base: BaseConfig
    check: Checker
    refusal: str = field(default="", init=False)
    started_base: str = field(default="", init=False)
    _checked: str = field(default="", init=False)
    _written: tuple[Mark | None, JsonObject] = field(default=(None, {}), init=False)
    _reserved: tuple[Mark | None, Mapping[int, str]] = field(default=(None, {}), init=False)

    def read(self) -> FileView:
        """Return what the file contains now; a damaged or missing file is a state, not an error."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return FileView(FileState.MISSING, {}, problem="config.json is missing")
        except OSError as error:
            return FileView(FileState.INVALID, {}, problem=f"config.json cannot be read: {error.strerror}")
        found = parse_config(content)
        if found is None:
            return FileView(FileState.INVALID, {}, problem="config.json is not a JSON object with a list of inbounds")
        return self._view(found.document)

    def _view(self, document: JsonObject) -> FileView:
        ours: dict[str, AnyInbound] = {}
        foreign: list[ForeignInbound] = []
        api_inbounds = 0
        for raw in document["inbounds"]:
            if raw.get("tag") == API_TAG:
                api_inbounds += 1
            elif not belongs_to_us(raw):
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
            reserved=reserved_ports(document, self.base.pool),
        )

    def _is_base_intact(self, document: JsonObject, inbounds: list[Inbound]) -> bool:
        """Return whether all but the inbounds is as we write it: merging our parts again changes nothing."""
        again = merge(document, self.base, inbounds)
        return skeleton(again) == skeleton(document)

    def base_now(self) -> str:
        """Return the `base_digest` of the file as it is now; "" when it cannot be read."""
        with suppress(OSError):
            document = read_document(self.path)
            return "" if document is None else base_digest(document)
        return ""

    def was_written_by_us(self, mark: Mark | None) -> bool:
        """Return whether a file with this mark is what `put` wrote last."""
        return mark is not None and mark == self._written[0]

    def reserved(self) -> Mapping[int, str]:
        """Return the ports of our range that the operator's own inbounds have, with their tags."""
        mark = Mark.at(self.path)
        if mark != self._reserved[0]:
            self._reserved = (mark, self.read().reserved)
        return self._reserved[1]

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
            around = base_digest(merged)
            content = _rendered(merged)
            if always_check:
                self._check_content(content)
                return ConfigDraft(merged, content, around)
            refusal = self.refusal if around == self._checked else self._refusal(content, inbounds)
            return ConfigDraft(merged, content, around, refusal)

    def _refusal(self, content: bytes, inbounds: tuple[Inbound, ...]) -> str:
        """Return Xray's error about the operator's sections, "" when it accepts all. Raises ConfigRefused for ours.

        Such sections are in the file already, and keys have to come and go while the operator corrects them. An Xray
        that ends is started without them (`start.py`).
        """
        try:
            self._check_content(content)
        except ConfigUntested:
            raise
        except ConfigRefused as error:
            self._check_content(_rendered(merge({}, self.base, inbounds)))
            return str(error)
        return ""

    def put(self, draft: ConfigDraft) -> None:
        """Write a draft and sync it to disk. Raises ConfigUnwritable; the file is unchanged then."""
        with self._as_unwritable():
            mark = write_atomically(self.path, draft.content)
            self._checked, self.refusal = draft.around, draft.refusal
            self._reserved = (mark, reserved_ports(draft.document, self.base.pool))
            # Last: a thread that knows the file by this mark finds what was found out about it.
            self._written = (mark, draft.document)

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
        """Return the present document, or an empty one. What a new file cannot hold is kept aside: see `Aside`."""
        # What we wrote ourselves is known by its inode, size and time: reading 47 kB back for each key took longer than
        # writing it (docs/adr/0014-speed.md).
        mark, document = self._written
        try:
            if Mark.of(self.path.stat()) == mark:
                return document
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        found = parse_config(content)
        if found is None:
            aside = keep_aside(self.path, Aside.BROKEN, content)
            _log.warning("config.json was unreadable; it is kept as %s and a new one is written", aside.name)
            return {}
        if found.has_comments:
            aside = keep_aside(self.path, Aside.WITH_COMMENTS, content)
            _log.warning("config.json is written without its comments; with them it is kept as %s", aside.name)
        return found.document

    def prepare(self, desired: tuple[Inbound, ...]) -> None:
        """Write a file that passes `xray run -test`, for the start. Raises ConfigUnwritable, ConfigRefused.

        When Xray refuses the operator's own sections, the file is kept under another name and written without them, so
        that customers can connect. Where none can be written, the last good one has to do.
        """
        try:
            self.write(desired, always_check=True)
        except ConfigUntested:
            raise
        except ConfigUnwritable as error:
            if self.read().state is not FileState.OK:
                raise
            _log.error("Xray starts with the last config.json, and keys that are stopped are taken out: %s", error)
        except ConfigRefused as error:
            if not self.path.exists():
                raise  # what Xray refuses is ours
            _log.error("%s", error)
            self.leave_out_foreign()
            self.write(desired, always_check=True)

    def leave_out_foreign(self) -> None:
        """Write the file without the operator's sections, which Xray refuses, and keep it as config.json.refused.

        Raises ConfigUnwritable.
        """
        with self._as_unwritable():
            content = self.path.read_bytes()
            found, aside = parse_config(content), keep_aside(self.path, Aside.REFUSED, content)
            merged = merge({}, self.base, inbounds_of_ours({} if found is None else found.document))
            self.put(ConfigDraft(merged, _rendered(merged), base_digest(merged)))
        _log.error(
            "Xray refuses sections that were added to config.json; the file is kept as %s, correct them there",
            aside.name,
        )


def _rendered(document: JsonObject) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def skeleton(document: JsonObject) -> JsonObject:
    """Return the document without our own inbounds, but with the API's; the order of the others is kept."""
    kept = [raw for raw in document["inbounds"] if raw.get("tag") == API_TAG or not belongs_to_us(raw)]
    return {**document, "inbounds": kept}


def base_digest(document: JsonObject) -> str:
    """Return the SHA-256 of what only a restart of Xray applies: everything but the inbounds of keys."""
    around = orjson.dumps(skeleton(document), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(around).hexdigest()


def inbounds_of_ours(document: JsonObject) -> tuple[Inbound, ...]:
    """Return those of our inbounds that are whole, without the API's and without tags that stand twice."""
    ours = [raw for raw in document.get("inbounds", ()) if belongs_to_us(raw)]
    tags = Counter(str(raw.get("tag")) for raw in ours)
    parsed = (parse_inbound(raw) for raw in ours if tags[str(raw.get("tag"))] == 1)
    return tuple(inbound for inbound in parsed if isinstance(inbound, Inbound))


def can_listen(inbound: Inbound) -> bool:
    """Return whether no other program keeps Xray from listening for an inbound that it does not have yet."""
    return inbound.port is None or ports.can_listen(inbound.listen, inbound.port)
