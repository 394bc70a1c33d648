"""Lists and closes doors: inbounds of another panel, with which old links go on."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import (
    ConfigRefused,
    ConfigUnwritable,
    DoorNotFound,
    StopPending,
    XrayRefused,
    XrayUnavailable,
)
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes.door import DOOR_TAG_PREFIX, Door
from vpnkeys.domain.plan import Plan
from vpnkeys.interfaces import Store
from vpnkeys.service.change.at_doors import finish_closing, with_doors
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DoorNow:
    """A door, how many keys' old links work now, its state, and the `problem` of one whose links do not work."""

    door: Door
    keys: int
    state: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DoorService:
    """Lists and closes the doors of the built-in node."""

    reconciler: Reconciler

    def list(self) -> tuple[DoorNow, ...]:
        """Return all doors, by port. Raises StoreUnavailable."""
        keys = self.reconciler.stops.own_keys()
        return tuple(self._now(door, keys) for door in self._doors().values())

    def _now(self, door: Door, keys: Keys) -> DoorNow:
        closed = self.reconciler.closed_doors
        if door.is_closing:
            return DoorNow(door, 0, "closing")
        if door.port in self.reconciler.taken.ports:
            return DoorNow(door, 0, "taken", "another program has its port")
        if door.tag in closed.why:
            return DoorNow(door, 0, "closed", closed.why[door.tag])
        if problem := closed.targets().get(door.tag, ""):
            return DoorNow(door, 0, "target_down", problem)
        return DoorNow(door, len([*door.let_in(keys)]), "open")

    def close(self, tag: str) -> Door:
        """Close a door: its old links work no more, and their connections are cut. Return it as it was.

        Raises DoorNotFound; StopPending when Xray does not confirm it, which is repeated until it does.
        """
        with self.reconciler.changing:
            door = found(self._doors(), tag)
            begin_closing(self.reconciler.store, door)
            self.reconciler.site = with_doors(self.reconciler.site, self._open())
            self.reconciler.closed_doors.forget(door)
            try:
                self._remove(door)
            except (XrayUnavailable, XrayRefused, ConfigUnwritable, ConfigRefused) as error:
                self.reconciler.expect_drift()
                self.reconciler.repair_soon()
                msg = f"{error} The door is closed in the database, and ends as soon as Xray and config.json follow."
                raise StopPending(msg) from error
        _log.info("%s is closed", door.tag)
        return door

    def _open(self) -> Iterator[Door]:
        closed = self.reconciler.closed_doors.why
        return (door for door in self.reconciler.store.doors() if door.tag not in closed)

    def _doors(self) -> Mapping[str, Door]:
        return {door.tag: door for door in self.reconciler.store.doors()}

    def _remove(self, door: Door) -> None:
        todo = Plan(remove=(door.tag,), cut=(door.port,))
        try:
            self.reconciler.apply(replace(todo, file=self.reconciler.desired(self.reconciler.stops.own_keys())))
        except (ConfigUnwritable, ConfigRefused):
            self.reconciler.apply(todo)  # the running Xray does not read the file
            raise
        if not self.reconciler.is_quiet():
            msg = "Xray may still carry out an earlier call, which would open the door again."
            raise XrayUnavailable(msg)
        finish_closing(self.reconciler.store, self.reconciler.apply, is_over=True)


def found(doors: Mapping[str, Door], tag: str) -> Door:
    """Return the door with this tag, with or without what all tags begin with. Raises DoorNotFound."""
    door = doors.get(tag) or doors.get(f"{DOOR_TAG_PREFIX}{tag}")
    if door is None:
        msg = "There is no door with this tag; GET /api/doors lists those that are."
        raise DoorNotFound(msg)
    return door


def begin_closing(store: Store, door: Door) -> None:
    """Store that a door is being closed: from here on it stays closed. Raises StoreUnavailable."""
    if door.is_closing:
        return
    with store.write() as transaction:
        transaction.nodes.put_door(replace(door, is_closing=True))
        transaction.record(Entry("door.closed", door.tag, before={"port": door.port, "keys": len(door.members)}))
