"""`/api/backups`: the backups in the server's data directory."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._http import Http, path_below
from vpnkeys.wire.backups import BackupFile

_PATH = "/api/backups"


BackupList: TypeAlias = list[BackupFile]  # a name that `Backups.list` does not hide

_BACKUP_LIST = TypeAdapter(BackupList)


class Backups:
    """The server's own backups. Needs an API key or a token with the scope `admin`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> BackupList:
        """Return all backups, newest first."""
        return self._http.answer(_BACKUP_LIST, "GET", _PATH)

    def make(self) -> BackupFile:
        """Make a backup now and return it; the oldest beyond ten is removed.

        Raises Unavailable when it cannot be made.
        """
        return self._http.one(BackupFile, "POST", _PATH)

    def open(self, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """Return a backup piece by piece, inside a `with`. It holds every secret of the server. Raises NotFound."""
        return self._http.stream("GET", path_below(_PATH, name))
