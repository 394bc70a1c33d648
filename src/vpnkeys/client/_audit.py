"""`/api/audit`: every change, who made it, and how it ended."""

from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._http import Http
from vpnkeys.wire.audit import AuditRecord

RecordList: TypeAlias = list[AuditRecord]  # a name that `Audit.list` does not hide

_RECORD_LIST = TypeAdapter(RecordList)


class Audit:
    """The log of changes. Needs an API key or a token with the scope `admin`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, limit: int = 100, before: int | None = None, subject: str | None = None) -> RecordList:
        """Return the newest changes, at most 1000, newest first; the next page is `before` the last id of this one.

        `subject`: only what was done to the key or token with this id.
        """
        asked = {"limit": limit, "before": before, "subject": subject}
        params = {name: value for name, value in asked.items() if value is not None}
        return self._http.answer(_RECORD_LIST, "GET", "/api/audit", params=params)
