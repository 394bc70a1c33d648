"""Looks at config.json whenever it changed, so that what an operator wrote there is examined before Xray ends."""

import logging
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from vpnkeys.domain.errors import ConfigRefused, Unavailable
from vpnkeys.files import Mark
from vpnkeys.service.health.checks import ConfigFacts
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.worker import Job, Worker
from vpnkeys.xray.config.aside import kept_aside
from vpnkeys.xray.config.check import ConfigUntested
from vpnkeys.xray.config.reading import Reading, parse_config
from vpnkeys.xray.node import LocalNode

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 1.0
_JOB = Job(
    name="config-watch",
    failing="config.json could not be examined",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 5.0),
    late_after_s=60.0,
    expected=(OSError, Unavailable),
)


class StartedBare(Protocol):
    """A process of Xray, which may have been started without the operator's sections."""

    @property
    def is_bare(self) -> bool:
        """Whether it was."""
        ...


@dataclass(slots=True)
class ConfigWatch:
    """Examines config.json when its mark changed, and puts a refused one aside once Xray was started without it.

    `facts` is what `/health` reports of it.
    """

    node: LocalNode
    reconciler: Reconciler
    process: StartedBare
    worker: Worker = field(init=False)
    _facts: ConfigFacts = field(default=ConfigFacts(), init=False)
    _examined: ConfigFacts = field(default=ConfigFacts(), init=False)
    """What is in the file with this mark."""
    _mark: Mark | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is examined before it starts."""
        self.worker = Worker(_JOB, self.look)

    def facts(self) -> ConfigFacts:
        """Return what was known of config.json at the last look. Nothing is read here, as anybody may ask."""
        return self._facts

    def look(self) -> None:
        """Examine the file if it changed, and act on what Xray refuses. Raises OSError, Unavailable."""
        file, is_bare = self.node.file, self.process.is_bare
        mark = Mark.at(file.path)
        if mark != self._mark:
            self._examined = self._examine(mark)
            self._mark = mark
        # A file that was written anew since has no section that Xray could lack.
        is_left_out = is_bare and (self._examined.is_unfit or file.has_foreign())
        self._facts = replace(
            self._examined,
            is_left_out=is_left_out,
            set_aside=kept_aside(file.path),
            reserved_ports=frozenset(file.reserved()),
            has_own_dns=file.has_own_dns(),
        )
        if not self._facts.is_unfit:
            return
        if is_bare:
            with self.reconciler.changing:  # a key that changes now must not come back by what is written here
                if Mark.at(self.node.file.path) == self._mark:
                    self.node.file.leave_out_foreign()
        elif not self._facts.is_json and not self.node.is_up():
            self.reconciler.repair_soon()  # Xray waits for a file that can be read

    def _examine(self, mark: Mark | None) -> ConfigFacts:
        file = self.node.file
        if mark is None:
            self.reconciler.worker.wake()  # writes it again
            return ConfigFacts()
        if file.was_written_by_us(mark):
            return ConfigFacts(is_unfit=bool(file.refusal))
        found = None if file.path.is_dir() else parse_config(file.path.read_bytes())
        facts = ConfigFacts(is_json=found is not None, has_comments=_has_comments(found))
        try:
            self.node.check_file()
        except ConfigUntested:
            raise
        except ConfigRefused as error:
            what = "the sections that are not ours" if facts.is_json else "this file, with the keys alone"
            _log.error("%s; should Xray end, it is started without %s", error, what)
            if facts.is_json:
                self.reconciler.repair_soon()  # puts right what is ours; what is left then is the operator's
            return replace(facts, is_unfit=True)
        return facts


def _has_comments(found: Reading | None) -> bool:
    return found is not None and found.has_comments
