"""Backups in the server's data directory."""

from vpnkeys.wire.base import Answer, Microseconds


class BackupFile(Answer):
    """A backup."""

    name: str
    size_bytes: int
    created_at: Microseconds
