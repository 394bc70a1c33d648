"""Reads the audit log."""

from dataclasses import dataclass

from vpnkeys.domain.audit import EVERYTHING, Filter, Record
from vpnkeys.interfaces import Store


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The use cases about the audit log."""

    store: Store

    def newest(
        self, limit: int, before_id: int | None, subject: str | None, chosen: Filter = EVERYTHING
    ) -> tuple[Record, ...]:
        """Return up to `limit` chosen records, newest first, before a record or about a subject if given."""
        return self.store.audit(limit, before_id, subject, chosen)
