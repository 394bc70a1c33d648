"""Serves `/api/doors`: inbounds of another panel, with which old links go on until they are closed."""

from typing import Annotated

from fastapi import Path

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import DoorsDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.wire.doors import Door, DoorClosed

router = ApiRouter(prefix="/api/doors", tags=["doors"], responses=problems(400, 401, 429, 500, 503))


@router.get("")
@requires(Scope.READ)
def list_doors(doors: DoorsDep) -> list[Door]:
    """Return all doors, by port, each with how many keys' old links work by it."""
    return [
        Door(
            tag=one.door.tag,
            port=one.door.port,
            keys=one.keys,
            imported_keys=len(one.door.members),
            state=one.state,
            problem=one.problem,
            server_names=list(one.door.server_names),
        )
        for one in doors.list()
    ]


@router.delete("/{tag}", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def close_door(tag: Annotated[str, Path(description="the door's tag")], doors: DoorsDep) -> DoorClosed:
    """Close a door: its old links work no more, and their connections are cut. The keys' own links go on."""
    return DoorClosed(message=f"Door {doors.close(tag).tag} closed")
