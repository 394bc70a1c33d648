"""`/api/backups`: the backups in the data directory, made every day or when asked for."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import FileResponse

from vpnkeys.api.deps import ServerDep, administering
from vpnkeys.api.problems import problems
from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.errors import BackupFailed, BackupNotFound
from vpnkeys.service.audited import audited
from vpnkeys.wire.backups import BackupFile

router = APIRouter(
    prefix="/api/backups",
    tags=["backups"],
    dependencies=[administering],
    responses=problems(400, 401, 404, 429, 500, 503),
)


@router.get("")
def list_backups(server: ServerDep) -> list[BackupFile]:
    """The backups that there are, newest first."""
    return [_shown(*file) for file in server.daily_backup.files()]


@router.post("")
def make_backup(server: ServerDep) -> BackupFile:
    """Make a backup now, beside the daily ones; the oldest beyond ten goes."""
    with audited(server.reconciler.store, "backup.made") as facts:
        if not server.daily_backup.make():
            raise BackupFailed("The backup could not be made; the log of the server says why. Is the disk full?")
        newest = server.daily_backup.files()[0]
        facts["name"] = newest.name
    return _shown(*newest)


@router.get("/{name}", response_class=FileResponse)
def get_backup(name: Annotated[str, Path(max_length=128)], server: ServerDep) -> FileResponse:
    """A backup as a file. It holds every secret of the server: keep it as you would keep a password."""
    file = server.daily_backup.find(name)
    if file is None:
        raise BackupNotFound("There is no backup of this name; GET /api/backups lists those that are.")
    server.reconciler.store.record(Entry("backup.downloaded", after={"name": name}), Outcome.DONE)
    return FileResponse(file, media_type="application/octet-stream", filename=name)


def _shown(name: str, size_bytes: int, created_at: datetime) -> BackupFile:
    return BackupFile(name=name, size_bytes=size_bytes, created_at=created_at)
