"""Serves `/agent`: what agents of nodes elsewhere ask and report. They are known by tokens of their own.

Not in the OpenAPI document: it is said between two parts of this program, in any two neighbouring versions of it.
"""

import time
from functools import partial
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.types import Scope

from vpnkeys.api.auth.access import AccessControl, address_of, public
from vpnkeys.api.auth.credentials import credentials_in
from vpnkeys.api.convert.agents import desired_answer, joined_record, received_answer, report_of
from vpnkeys.api.deps import AccessControlDep, FleetDep, NewsDep
from vpnkeys.api.errors import Unauthorized
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.actor import Actor, set_actor
from vpnkeys.domain.nodes import NodeRecord
from vpnkeys.server.pools import Pool
from vpnkeys.server.requests import current_request_id
from vpnkeys.service.nodes.fleet import Fleet
from vpnkeys.service.nodes.wanted import Wanted
from vpnkeys.wire.agents import Joined, JoinRequest, NewToken, Received, Report

router = ApiRouter(prefix="/agent", include_in_schema=False)

_MOST_WAIT_S = 50.0
_MOST_AT_ONCE = 4
"""An agent asks once at a time, but those that it has given up may seem to be waiting still."""
_LOOK_EVERY_S = 1.0
"""Another process that shares the database may have changed keys, and tells nobody here."""


@router.post("/join")
@public
async def join(asked: JoinRequest, request: Request, fleet: FleetDep, access: AccessControlDep) -> Joined:
    """Let an agent be the node for which its token was made, once."""
    _act_as("an agent that joins", request.scope)
    joined = await Pool.AGENTS.run(fleet.admin.join, asked.token, partial(joined_record, asked))
    if joined is None:
        access.limits.count_failure(address_of(request.scope))
        raise Unauthorized
    record, token = joined
    pair = record.private_key if record.private_key != asked.private_key else ""
    return Joined(node=record.ref.name, token=token, port_range=str(record.ports), private_key=pair)


@router.get("/desired")
@public
async def get_desired(  # noqa: PLR0913, PLR0917 - one for each parameter
    request: Request,
    fleet: FleetDep,
    access: AccessControlDep,
    news: NewsDep,
    rev: str = "",
    ticket: str = "",
    wait_s: Annotated[float, Query(ge=0, le=_MOST_WAIT_S)] = _MOST_WAIT_S,
) -> Response:
    """Return what the node should have as soon as that is not `rev` any more; 204 when it stayed so.

    An agent that knows of tickets is also answered when it has none that says so much.
    """
    node = _recognised(request.scope, fleet, access)
    ends_at = time.monotonic() + wait_s
    with access.shares.taken("/agent/desired", node.ref.name, _MOST_AT_ONCE):
        while (wanted := fleet.board.wanted(node.ref.id)).is_told(rev, ticket):
            left_s = ends_at - time.monotonic()
            if left_s <= 0 or news.has_ended:
                return Response(status_code=204)
            await news.wait(node.ref.id, min(left_s, _LOOK_EVERY_S))
    # In a thread, as it reads the database; most nodes have no limits of traffic, and it reads nothing.
    used = await Pool.AGENTS.run(fleet.board.used, wanted.keys, fleet.admin.clock.now())
    answer = desired_answer(wanted, rev, used, fleet.admin.clock.now())
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post("/report")
@public
async def report(request: Request, fleet: FleetDep, access: AccessControlDep) -> Received:
    """Store what an agent reports of its node."""
    node = _recognised(request.scope, fleet, access)
    sent, wanted = await Pool.AGENTS.run(_receive, fleet, node, await request.body())
    return received_answer(wanted, sent, token_is_old=fleet.admin.is_old(node), now=fleet.admin.clock.now())


def _receive(fleet: Fleet, node: NodeRecord, body: bytes) -> tuple[Report, Wanted]:
    """Read a report and store it; return it, and what the node should have. Raises RequestValidationError."""
    try:
        sent = Report.model_validate_json(body)  # the framework would make objects of Python first, in the event loop
    except ValidationError as error:
        found = ({**one, "loc": ("body", *one["loc"])} for one in error.errors())
        raise RequestValidationError([*found]) from error
    return sent, fleet.reports.receive(node, report_of(sent))


@router.post("/token")
@public
async def renew_token(request: Request, fleet: FleetDep, access: AccessControlDep) -> NewToken:
    """Make the agent's next token. The present one works until the agent reports with the next."""
    node = _recognised(request.scope, fleet, access)
    return NewToken(token=await Pool.AGENTS.run(fleet.admin.renew, node))


def _recognised(scope: Scope, fleet: Fleet, access: AccessControl) -> NodeRecord:
    """Return the node whose agent asks. Raises Unauthorized, TooManyRequests when too many tokens were wrong."""
    node = fleet.admin.identify(credentials_in(scope["headers"]).token)
    if node is None:
        access.limits.count_failure(address_of(scope))
        raise Unauthorized
    _act_as(f"node {node.ref.name}", scope)
    return node


def _act_as(name: str, scope: Scope) -> None:
    set_actor(Actor(name, address_of(scope), current_request_id()))
