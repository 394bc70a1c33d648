"""`/api/audit`: every change, who made it, and how it ended."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel

from vpnkeys.api.deps import ServerDep, administering
from vpnkeys.api.problems import problems
from vpnkeys.api.schemas import CreatedAt
from vpnkeys.domain.audit import Outcome, Record

router = APIRouter(
    prefix="/api/audit", tags=["audit"], dependencies=[administering], responses=problems(400, 401, 429, 500, 503)
)


class RecordOut(BaseModel):
    """One change.

    `actor` is the token's name, `origin` the address it was used from; `before` and `after` hold what differs.
    """

    id: int
    at: CreatedAt
    actor: str
    origin: str
    request_id: str
    action: str
    subject: str
    before: dict[str, object]
    after: dict[str, object]
    outcome: Outcome
    detail: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """A record as the API shows it."""
        return cls(
            id=record.id,
            at=record.at,
            actor=record.actor.name,
            origin=record.actor.origin,
            request_id=record.actor.request_id,
            action=record.entry.action,
            subject=record.entry.subject,
            before=dict(record.entry.before),
            after=dict(record.entry.after),
            outcome=record.outcome,
            detail=record.detail,
        )


@router.get("")
def list_records(
    server: ServerDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="only records older than this id")] = None,
    subject: Annotated[str | None, Query(max_length=64, description="only what was done to this key or token")] = None,
) -> list[RecordOut]:
    """The newest changes, newest first; the next page is `before` the last id of this one."""
    return [RecordOut.of(record) for record in server.reconciler.store.audit(limit, before, subject)]
