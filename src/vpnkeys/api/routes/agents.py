"""Serves `/agent`: what agents of nodes elsewhere ask and report. They are known by tokens of their own.

Not in the OpenAPI document: it is said between two parts of this program, in any two neighbouring versions of it.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from vpnkeys.api.auth.access import AccessControl, address_of, public
from vpnkeys.api.auth.credentials import credentials_in
from vpnkeys.api.bodylimit import TooLarge
from vpnkeys.api.convert.agents import desired_answer, joined_record, received_answer, report_of
from vpnkeys.api.deps import AccessControlDep, FleetDep, access_of, news_of, reports_of, services_of
from vpnkeys.api.errors import Unauthorized
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.actor import Actor, current_actor, set_actor
from vpnkeys.domain.errors import InvalidChoice, Rejected, Unavailable
from vpnkeys.domain.nodes import NodeRecord
from vpnkeys.server.pools import Pool
from vpnkeys.server.requests import current_request_id
from vpnkeys.service.nodes.fleet import Fleet
from vpnkeys.service.nodes.reports import Reported
from vpnkeys.service.nodes.wanted import Wanted
from vpnkeys.wire.agents import Joined, JoinRequest, NewToken, Report

router = ApiRouter(prefix="/agent", include_in_schema=False)

_MOST_WAIT_S = 50.0
_MOST_AT_ONCE = 4
"""An agent asks once at a time, but those that it has given up may seem to be waiting still."""


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


@router.plain("/desired")
@public
async def get_desired(request: Request, rev: str = "", ticket: str = "", wait_s: str = "") -> Response:
    """Return what the node should have as soon as that is not `rev` any more; 204 when it stayed so.

    An agent that knows of tickets is also answered when it has none that says so much.
    """
    services, access, news = services_of(request), access_of(request), news_of(request)
    fleet, node = services.fleet, _recognised(request.scope, services.fleet, access)
    ends_at = time.monotonic() + _seconds(wait_s)
    # Listening before it looks: what changes meanwhile must not be missed. It looks again only when there are news, as
    # a thousand may wait.
    with access.shares.taken("/agent/desired", node.ref.name, _MOST_AT_ONCE), news.listening(node.ref.id) as event:
        while (wanted := fleet.board.wanted(node.ref.id)).is_told(rev, ticket):
            if news.has_ended or time.monotonic() >= ends_at:
                return Response(status_code=204)
            with suppress(TimeoutError):
                async with asyncio.timeout(ends_at - time.monotonic()):
                    await event.wait()
            event.clear()
    # In a thread, as it reads the database; most nodes have no limits of traffic, and it reads nothing.
    used = await Pool.AGENTS.run(fleet.board.used, wanted.keys, fleet.admin.clock.now())
    return _json(desired_answer(wanted, rev, used, fleet.admin.clock.now()))


def _seconds(text: str) -> float:
    """Return for how long an agent waits. Raises InvalidChoice."""
    try:
        wait_s = float(text or _MOST_WAIT_S)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s <= _MOST_WAIT_S:
        msg = f"wait_s: give seconds, {_MOST_WAIT_S:g} at most."
        raise InvalidChoice(msg)
    return wait_s


@router.plain("/report", method="POST")
@public
async def report(request: Request) -> Response:
    """Store what an agent reports of its node."""
    fleet = services_of(request).fleet
    node = _recognised(request.scope, fleet, access_of(request))
    sent = await _report_in(request)
    # A request that waits for its confirmation has three seconds; no other report is in a hurry.
    first = fleet.board.is_awaited(node.ref.id)
    wanted = await reports_of(request).result((node, report_of(sent), current_actor()), first=first)
    return _json(received_answer(wanted, sent, token_is_old=fleet.admin.is_old(node), now=fleet.admin.clock.now()))


class UnreadableReport(Rejected):
    """Says that a report has not the form that it should have."""

    code = "invalid_request"


async def _report_in(request: Request) -> Report:
    """Return the report that a request brings. Raises UnreadableReport."""
    try:
        return Report.model_validate_json(await request.body())
    except (ClientDisconnect, TooLarge) as error:
        raise UnreadableReport("The report has not arrived as a whole; it is sent again.") from error
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
        raise UnreadableReport("; ".join(faults)) from error


def receive_all(fleet: Fleet, reports: Sequence[Reported]) -> Sequence[Wanted | Exception]:
    """Store reports in one commit; return what each node should have, or what is wrong with its report.

    Where one of them cannot be stored at all, each is stored alone. Raises StoreUnavailable.
    """
    try:
        return fleet.reports.receive_all(reports)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not take the others along
        return [error] if len(reports) == 1 else [one for report in reports for one in receive_all(fleet, [report])]


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


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
