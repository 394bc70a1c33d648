"""`/api/backups`: the backups in the server's data directory."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, one
from vpnkeys.client._http import path_below
from vpnkeys.wire.backups import BackupFile

_PATH = "/api/backups"


BackupList: TypeAlias = list[BackupFile]  # a name that `Backups.list` does not hide

_BACKUP_LIST = TypeAdapter(BackupList)


class BackupsRequests:
    """The server's own backups. Needs an API key or a token with the scope `admin`."""

    @Request
    def list(self) -> Call[BackupList]:
        """Return all backups, newest first."""
        return answer(_BACKUP_LIST, "GET", _PATH)

    @Request
    def make(self) -> Call[BackupFile]:
        """Make a backup now and return it; the oldest beyond ten is removed.

        Raises Unavailable when it cannot be made.
        """
        return one(BackupFile, "POST", _PATH)


class Backups(Part, BackupsRequests):
    """The server's own backups. Needs an API key or a token with the scope `admin`."""

    def open(self, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """Return a backup piece by piece, inside a `with`. It holds every secret of the server. Raises NotFound."""
        return self._http.stream("GET", path_below(_PATH, name))


class AsyncBackups(AsyncPart, BackupsRequests):
    """The server's own backups. Needs an API key or a token with the scope `admin`."""

    def open(self, name: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return a backup piece by piece, inside an `async with`. It holds every secret. Raises NotFound."""
        return self._http.stream("GET", path_below(_PATH, name))
