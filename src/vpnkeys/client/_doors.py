"""`/api/doors`: inbounds of another panel, with which old links go on until they are closed."""

from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, one
from vpnkeys.client._http import path_below
from vpnkeys.wire.doors import Door, DoorClosed

_PATH = "/api/doors"

DoorList: TypeAlias = list[Door]  # a name that `Doors.list` does not hide

_DOOR_LIST = TypeAdapter(DoorList)


class DoorsRequests:
    """The doors of the server: where old links of imported keys lead."""

    @Request
    def list(self) -> Call[DoorList]:
        """Return all doors, by port."""
        return answer(_DOOR_LIST, "GET", _PATH)

    @Request
    def remove(self, tag: str) -> Call[DoorClosed]:
        """Close a door: its old links work no more, and their connections are cut. Raises NotFound."""
        return one(DoorClosed, "DELETE", path_below(_PATH, tag))


class Doors(Part, DoorsRequests):
    """The doors of the server: where old links of imported keys lead."""


class AsyncDoors(AsyncPart, DoorsRequests):
    """The doors of the server: where old links of imported keys lead."""
