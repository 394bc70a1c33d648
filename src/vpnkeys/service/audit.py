"""Reads the audit log."""

from dataclasses import dataclass

from vpnkeys.domain.audit import Record
from vpnkeys.interfaces import Store


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The use cases about the audit log."""

    store: Store

    def newest(self, limit: int, before_id: int | None, subject: str | None) -> tuple[Record, ...]:
        """Return up to `limit` records, newest first; where given, only those before a record or about a subject."""
        return self.store.audit(limit, before_id, subject)
