"""Keeps which doors are left out of config.json and Xray, as they would stop Xray or other keys, and why."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from vpnkeys.domain.inbound import Inbound, ServerIdentity, door_inbound
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.plan import RunningView
from vpnkeys.service.change.at_doors import with_doors

_log = logging.getLogger(__name__)

_NO_ADDRESS = "its address is none of this host's"
_REFUSED = "Xray refuses it"
_REFUSALS = 2  # once may be a call that came late


@dataclass(slots=True)
class ClosedDoors:
    """The doors that cannot work, by their tags, with the reasons at the last comparison, and by their ports.

    `has_address` says whether this host has an IP address, `refusal` why Xray refuses some inbounds, "" when it takes
    them. `targets` returns why a door's target lets nobody in, by tag: such a door is open, and its links do not work.
    """

    has_address: Callable[[str], bool] = lambda _address: True
    refusal: Callable[[tuple[Inbound, ...]], str] = lambda _inbounds: ""
    targets: Callable[[], Mapping[str, str]] = dict
    why: Mapping[str, str] = field(default_factory=dict, init=False)
    ports: Mapping[int, str] = field(default_factory=dict, init=False)
    awaits_repair: bool = field(default=False, init=False)
    _refused: dict[str, int] = field(default_factory=dict, init=False)

    def tried(self, site: ServerIdentity, keys: Keys) -> ServerIdentity:
        """Return the site without doors that Xray refuses when it tests them, before it starts with them."""
        found = [one for door in site.doors if (one := door_inbound(door, keys, site)) is not None]
        if found and self.refusal(tuple(found)):
            for inbound in found:
                if reason := self.refusal((inbound,)):
                    _log.error("%s is left out: %s", inbound.tag, reason)
                    self._refused[inbound.tag] = _REFUSALS
        return with_doors(site, self.without(site.doors, None))

    def refuse(self, tags: Iterable[str]) -> None:
        """Note doors that the running Xray refused; one that it refuses again is left out until the next start."""
        self.awaits_repair = True
        for tag in tags:
            self._refused[tag] = self._refused.get(tag, 0) + 1

    def without(self, doors: Iterable[Door], running: RunningView | None) -> tuple[Door, ...]:
        """Return the doors without those that are left out, and note why; one that Xray runs can work."""
        found, tags = tuple(doors), frozenset(() if running is None else running.inbounds)
        why = {door.tag: reason for door in found if (reason := self._reason(door, tags))}
        for tag in sorted(why.keys() - self.why.keys()):
            _log.error("%s is closed, so that its old links do not work: %s", tag, why[tag])
        for tag in sorted(self.why.keys() - why.keys()):
            _log.info("%s can be open again, or is no more", tag)
        self.why, self.awaits_repair = why, False
        self.ports = {door.port: why[door.tag] for door in found if door.tag in why}
        return tuple(door for door in found if door.tag not in why)

    def forget(self, door: Door) -> None:
        """Note that a door is closed for good, which is no problem any more."""
        self.why = {tag: why for tag, why in self.why.items() if tag != door.tag}
        self.ports = {port: why for port, why in self.ports.items() if port != door.port}

    def _reason(self, door: Door, running: Collection[str]) -> str:
        if self._refused.get(door.tag, 0) >= _REFUSALS:
            return _REFUSED
        if door.tag in running:  # an address that goes ends no listener
            self._refused.pop(door.tag, None)
            return ""
        return "" if not door.listen or self.has_address(door.listen) else _NO_ADDRESS
