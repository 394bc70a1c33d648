"""Serves `/api/audit`: every change, who made it, and how it ended."""

from typing import Annotated

from fastapi import Depends, Query

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import AuditDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.audit import Filter, Outcome, Record
from vpnkeys.domain.token import Scope
from vpnkeys.wire.audit import AuditRecord

router = ApiRouter(prefix="/api/audit", tags=["audit"], responses=problems(400, 401, 429, 500, 503))


def chosen(
    action: Annotated[
        str, Query(max_length=40, description="only this action, such as `key.deleted`, or all of `key`")
    ] = "",
    actor: Annotated[str, Query(max_length=160, description="only who has this in their name, in any case")] = "",
    outcome: Annotated[Outcome | None, Query(description="only changes that ended so")] = None,
) -> Filter:
    """Return what the query chooses."""
    return Filter(action, actor, outcome)


@router.get("")
@requires(Scope.ADMIN)
def list_records(
    audit: AuditDep,
    only: Annotated[Filter, Depends(chosen)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="only records older than this id")] = None,
    subject: Annotated[str | None, Query(max_length=64, description="only what was done to this key or token")] = None,
) -> list[AuditRecord]:
    """Return the newest changes, newest first; the next page is `before` the last id of this one."""
    return [_answer(record) for record in audit.newest(limit, before, subject, only)]


def _answer(record: Record) -> AuditRecord:
    return AuditRecord(
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
