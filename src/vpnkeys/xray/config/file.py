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
from vpnkeys.domain.inbound import WARM_TAG_PREFIX, AnyInbound, ForeignInbound, Inbound, warm_inbounds
from vpnkeys.domain.plan import FileState, FileStep, FileView
from vpnkeys.files import Mark, write_atomically
from vpnkeys.xray.config.aside import Aside, keep_aside, move_aside
from vpnkeys.xray.config.check import Checker, ConfigUntested
from vpnkeys.xray.config.document import API_TAG, BaseConfig, Foreign, belongs_to_us, foreign_in, merge
from vpnkeys.xray.config.pieces import ConfigDraft, JsonObject, Pieces, rendered
from vpnkeys.xray.config.reading import parse_config, parse_inbound, read_document, summary
from vpnkeys.xray.host import ports

_log = logging.getLogger(__name__)


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
    _written: tuple[Mark | None, JsonObject, Pieces | None] = field(default=(None, {}, None), init=False)
    _foreign: tuple[Mark | None, Foreign] = field(default=(None, Foreign({})), init=False)

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
        warm = [one for one in ours.values() if isinstance(one, Inbound) and one.tag.startswith(WARM_TAG_PREFIX)]
        found = foreign_in(document, self.base.pool)
        return FileView(
            FileState.OK,
            ours,
            tuple(foreign),
            base_ok=self._is_base_intact(document, warm),
            api_inbounds=api_inbounds,
            reserved=found.reserved,
            has_own_dns=found.has_dns,
        )

    def _is_base_intact(self, document: JsonObject, warm: list[Inbound]) -> bool:
        """Return whether all but the inbounds is as we write it: merging our parts again changes nothing.

        A rule names the warm inbounds; nothing else depends on inbounds of ours.
        """
        again = merge(document, self.base, warm)
        return skeleton(again) == skeleton(document)

    def base_now(self) -> str:
        """Return the `base_digest` of the file as it is now; "" when it cannot be read."""
        with suppress(OSError):
            document = read_document(self.path)
            return "" if document is None else base_digest(document)
        return ""

    def has_foreign(self) -> bool:
        """Return whether the file has sections that are not ours; one that cannot be read may have."""
        with suppress(OSError):
            if (document := read_document(self.path)) is not None:
                # Our rules depend on our inbounds, so that a file without any would differ from ours.
                return skeleton(document) != skeleton(merge({}, self.base, inbounds_of_ours(document)))
        return True

    def was_written_by_us(self, mark: Mark | None) -> bool:
        """Return whether a file with this mark is what `put` wrote last."""
        return mark is not None and mark == self._written[0]

    def reserved(self) -> Mapping[int, str]:
        """Return the ports of our range that the operator's own inbounds have, with their tags."""
        return self._foreign_now().reserved

    def has_own_dns(self) -> bool:
        """Return whether the operator has a `dns` section, by which Xray then resolves all names."""
        return self._foreign_now().has_dns

    def _foreign_now(self) -> Foreign:
        mark = Mark.at(self.path)
        if mark != self._foreign[0]:
            seen = self.read()
            self._foreign = (mark, Foreign(seen.reserved, seen.has_own_dns))
        return self._foreign[1]

    def write(self, inbounds: tuple[Inbound, ...] | FileStep, *, always_check: bool = False) -> None:
        """Replace our parts of the file, atomically and durably; the operator's sections stay as they are.

        The file is checked first, unless only inbounds of our own have changed since the last check: their form is
        proven against Xray's converter, and 16 ms would be the largest part of creating a key (docs/adr/0001).
        Raises ConfigUnwritable or ConfigRefused; the file is unchanged then.
        """
        self.put(self.draft(inbounds, always_check=always_check))

    def draft(self, inbounds: tuple[Inbound, ...] | FileStep, *, always_check: bool = False) -> ConfigDraft:
        """Return what `write` would write, checked in the same way. Raises ConfigUnwritable or ConfigRefused."""
        with self._as_unwritable():
            if isinstance(inbounds, FileStep):
                return self._after(inbounds)
            merged = merge(self._document(), self.base, inbounds)
            content, document = rendered(merged), skeleton(merged)
            around = base_digest(document)
            if always_check:
                self._check_content(content)
                return ConfigDraft(document, content, around)
            return ConfigDraft(document, content, around, self._refusal(content, around, inbounds))

    def _after(self, step: FileStep) -> ConfigDraft:
        """Return the draft after a change of keys: of the file that was written last, if it is still there."""
        mark, document, pieces = self._written
        if pieces is not None and mark == Mark.at(self.path) and pieces.lead_to(step, self.base):
            pieces = pieces.after(step)
            return ConfigDraft(document, pieces.content, self._checked, self.refusal, pieces)
        inbounds, warm = tuple(step), warm_inbounds(step.site)
        document = merge(self._document(), self.base, warm)
        pieces = Pieces.of(step, self.base, document, inbounds[len(warm) :])
        content, around = pieces.content, base_digest(document)
        return ConfigDraft(document, content, around, self._refusal(content, around, inbounds), pieces)

    def _refusal(self, content: bytes, around: str, inbounds: tuple[Inbound, ...]) -> str:
        """Return Xray's error about the operator's sections, "" when it accepts all. Raises ConfigRefused for ours.

        Such sections are in the file already, and keys have to come and go while the operator corrects them. An Xray
        that ends is started without them (`start.py`). Xray is not asked again while only inbounds of ours change.
        """
        if around == self._checked:
            return self.refusal
        try:
            self._check_content(content)
        except ConfigUntested:
            raise
        except ConfigRefused as error:
            self._check_content(rendered(merge({}, self.base, inbounds)))
            return str(error)
        return ""

    def put(self, draft: ConfigDraft) -> None:
        """Write a draft and sync it to disk. Raises ConfigUnwritable; the file is unchanged then."""
        with self._as_unwritable():
            mark = write_atomically(self.path, draft.content)
            self._checked, self.refusal = draft.around, draft.refusal
            before, document, _ = self._written
            # A change of keys leaves the operator's inbounds as they are.
            is_known = draft.document is document and self._foreign[0] == before
            self._foreign = (mark, self._foreign[1] if is_known else foreign_in(draft.document, self.base.pool))
            # Last: a thread that knows the file by this mark finds what was found out about it.
            self._written = (mark, draft.document, draft.pieces)

    def test(self, inbounds: tuple[Inbound, ...]) -> None:
        """Check what `write` would write, without writing it. Raises ConfigUnwritable or ConfigRefused."""
        with self._as_unwritable():
            self._check_content(rendered(merge(self._document(), self.base, inbounds)))

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
        if trial.is_dir():
            move_aside(trial, Aside.BROKEN)
        try:
            write_atomically(trial, content)
            self.check(trial)
        finally:
            trial.unlink(missing_ok=True)

    def _document(self) -> JsonObject:
        """Return the present document, or an empty one. What a new file cannot hold is kept aside: see `Aside`."""
        # What we wrote ourselves is known by its inode, size and time: reading 47 kB back for each key took longer than
        # writing it (docs/adr/0014-speed.md).
        mark, document, _ = self._written
        try:
            if Mark.of(self.path.stat()) == mark:
                return document
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except IsADirectoryError:
            _log.warning("config.json was a directory; it is kept as %s", move_aside(self.path, Aside.BROKEN).name)
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
            self.put(ConfigDraft(merged, rendered(merged), base_digest(merged)))
        _log.error(
            "Xray refuses sections that were added to config.json; the file is kept as %s, correct them there",
            aside.name,
        )


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
