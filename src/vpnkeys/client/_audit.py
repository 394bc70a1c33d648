"""`/api/audit`: every change, who made it, and how it ended."""

from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer
from vpnkeys.wire.audit import AuditRecord

RecordList: TypeAlias = list[AuditRecord]  # a name that `Audit.list` does not hide

_RECORD_LIST = TypeAdapter(RecordList)


class AuditRequests:
    """The log of changes. Needs an API key or a token with the scope `admin`."""

    @Request
    def list(  # noqa: PLR0913 - one for each parameter of the query
        self,
        limit: int = 100,
        before: int | None = None,
        subject: str | None = None,
        *,
        action: str | None = None,
        actor: str | None = None,
        outcome: str | None = None,
    ) -> Call[RecordList]:
        """Return the newest changes, at most 1000, newest first; the next page is `before` the last id of this one.

        `subject`: only what was done to the key or token with this id. `action`: one, or all of a kind such as `key`.
        `actor`: a part of a name.
        """
        asked = {"limit": limit, "before": before, "subject": subject}
        asked |= {"action": action, "actor": actor, "outcome": outcome}
        params = {name: value for name, value in asked.items() if value is not None}
        return answer(_RECORD_LIST, "GET", "/api/audit", params=params)


class Audit(Part, AuditRequests):
    """The log of changes. Needs an API key or a token with the scope `admin`."""


class AsyncAudit(AsyncPart, AuditRequests):
    """The log of changes. Needs an API key or a token with the scope `admin`."""
