"""Serves `/api/backups`: lists, makes and downloads the backups in the data directory."""

from datetime import datetime
from typing import Annotated

from fastapi import Path
from starlette.responses import FileResponse

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import BackupsDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.wire.backups import BackupFile

router = ApiRouter(
    prefix="/api/backups",
    tags=["backups"],
    responses=problems(400, 401, 404, 429, 500, 503),
)


@router.get("")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def list_backups(backups: BackupsDep) -> list[BackupFile]:
    """Return all backups, newest first."""
    return [_shown(*file) for file in backups.list()]


@router.post("")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def make_backup(backups: BackupsDep) -> BackupFile:
    """Make a backup now, beside the daily ones.

    The newest ten are kept, the first of each of seven days, and the first of each of eight weeks.
    """
    return _shown(*backups.make())


@router.get("/{name}", response_class=FileResponse)
@requires(Scope.ADMIN, pool=Pool.SLOW)
def get_backup(name: Annotated[str, Path(max_length=128)], backups: BackupsDep) -> FileResponse:
    """Return a backup as a file. It holds every secret of the server: keep it as you would keep a password."""
    return FileResponse(backups.open(name), media_type="application/octet-stream", filename=name)


def _shown(name: str, size_bytes: int, created_at: datetime) -> BackupFile:
    return BackupFile(name=name, size_bytes=size_bytes, created_at=created_at)
