"""Chooses the file that Xray is started with: config.json, or one that leaves out what may not be in or may be why."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from vpnkeys.domain.errors import ConfigRefused
from vpnkeys.domain.inbound import Inbound, VlessClient
from vpnkeys.domain.nodes.door import is_door
from vpnkeys.files import write_atomically
from vpnkeys.xray.config.check import Checker, ConfigUntested
from vpnkeys.xray.config.document import BaseConfig, merge
from vpnkeys.xray.config.file import ConfigFile, base_digest, can_listen, inbounds_of_ours
from vpnkeys.xray.config.pieces import JsonObject, rendered
from vpnkeys.xray.config.reading import read_document

_WITHOUT_FOREIGN_AFTER = 3
"""So many quick exits in a row are put down to the operator's sections, even when Xray's own test accepts them."""


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """The file that one Xray is started with.

    `base` is the `base_digest` of config.json as it was then, "" when it could not be read; `is_bare` says whether the
    file lacks the operator's sections.
    """

    path: Path
    base: str = ""
    is_bare: bool = False


@dataclass(slots=True)
class StartFile:
    """Chooses the file for each start of Xray. It never changes config.json, and needs no disk that takes writes.

    `base_for` returns our own sections for a document; `say` receives the reason when the operator's are left out.
    `wanted` returns the inbounds that Xray may have, None when that is unknown; `stopped` the tags of those that it may
    not have whatever config.json says.
    """

    config: Path
    base_for: Callable[[JsonObject], BaseConfig]
    check: Checker
    say: Callable[[str], None]
    wanted: Callable[[], Collection[Inbound] | None] = lambda: None
    stopped: Callable[[], Collection[str]] = tuple
    _in_memory: int | None = field(default=None, init=False)

    def choose(self, quick_exits: int, document: JsonObject | None = None) -> ChosenFile:
        """Return the file to start with after so many quick exits in a row; `document` is config.json if it was read.

        Xray exits when a single inbound cannot listen, and when a single section is wrong. After a quick exit our
        inbounds that cannot listen are left out, and all doors; the server adds them over gRPC, where each fails alone.
        The operator's
        sections are left out when Xray's own test refuses them, or when Xray exits all the same: customers come first.
        What is not wanted is left out at each start, as a full disk may keep the keys of before in config.json. After a
        quick exit with a config.json that cannot be read, what is wanted is all that Xray gets: the same disk may keep
        the server from writing that file anew.
        """
        document = document or self._read()
        given, stopped = self.wanted(), self.stopped()
        wanted = None if given is None else frozenset(given)
        if document is None:
            return ChosenFile(self._put_wanted(wanted) if quick_exits and wanted is not None else self.config)
        around = base_digest(document)
        if not (quick_exits or stopped) and wanted is None:
            return ChosenFile(self.config, around)
        found = inbounds_of_ours(document)
        ours = _without([one for one in found if wanted is None or one in wanted], stopped)
        if not quick_exits and ours == [*found]:
            return ChosenFile(self.config, around)
        base = self.base_for(document)
        if not quick_exits:
            return ChosenFile(self._put(merge(document, base, ours)), around)
        return self._after_quick_exits(quick_exits, document, base, [*filter(_is_safe, ours)])

    def _after_quick_exits(
        self, quick_exits: int, document: JsonObject, base: BaseConfig, ours: Collection[Inbound]
    ) -> ChosenFile:
        why = f"Xray ended at once {quick_exits} times in a row"
        if quick_exits < _WITHOUT_FOREIGN_AFTER:
            path = self._put(merge(document, base, ours))
            why = self._refusal(path)
            if not why:
                return ChosenFile(path, base_digest(document))
        self.say(f"{why}; Xray is started without the sections that are not ours")
        return ChosenFile(self._put(merge({}, base, ours)), base_digest(document), is_bare=True)

    def _read(self) -> JsonObject | None:
        with suppress(OSError):  # Xray says the reason itself
            return read_document(self.config)
        return None

    def _refusal(self, path: Path) -> str:
        """Return why Xray refuses a file; "" when it accepts it, or when that cannot be found out."""
        try:
            self.check(path)
        except ConfigUntested:
            return ""
        except ConfigRefused as error:
            return str(error)
        return ""

    def _put_wanted(self, wanted: Collection[Inbound]) -> Path:
        self.say("config.json cannot be read; Xray is started with the keys of the database, without other sections")
        return self._put(merge({}, self.base_for({}), filter(_is_safe, wanted)))

    def _put(self, document: JsonObject) -> Path:
        """Write a document beside config.json, or to memory where the disk takes no write; return its path."""
        content, path = orjson.dumps(document), self.config.with_name(".config.start.json")
        try:
            write_atomically(path, content)
        except OSError:
            return self._remember(content)
        return path

    def _remember(self, content: bytes) -> Path:
        # Inherited by execve(2), and by this process's id also readable for a child with the same user.
        if self._in_memory is None:
            self._in_memory = os.memfd_create("config.json", 0)
        os.ftruncate(self._in_memory, 0)
        os.pwrite(self._in_memory, content, 0)
        return Path(f"/proc/{os.getpid()}/fd/{self._in_memory}")


def refusal_alone(file: ConfigFile, inbounds: tuple[Inbound, ...]) -> str:
    """Return why Xray refuses inbounds by themselves; "" when it takes them, or when that cannot be found out."""
    path = file.path.with_name(".config.alone.json")
    try:
        write_atomically(path, rendered(merge({}, file.base, inbounds)))
        file.check(path)
    except (ConfigUntested, OSError):
        return ""
    except ConfigRefused as error:
        return str(error)
    finally:
        path.unlink(missing_ok=True)
    return ""


def _is_safe(inbound: Inbound) -> bool:
    """Return whether an inbound can hardly be why Xray ended: a door has what another panel had, for another host."""
    return can_listen(inbound) and not is_door(inbound.tag)


def _without(inbounds: Collection[Inbound], stopped: Collection[str]) -> list[Inbound]:
    """Return the inbounds without those with these tags, and doors without the clients that those have."""
    accounts = {client.email for one in inbounds if one.tag in stopped for client in one.clients}
    left = (replace(one, clients=_others(one, accounts)) if is_door(one.tag) else one for one in inbounds)
    return [one for one in left if one.clients and one.tag not in stopped]


def _others(inbound: Inbound, accounts: Collection[str]) -> tuple[VlessClient, ...]:
    return tuple(client for client in inbound.clients if client.email not in accounts)
