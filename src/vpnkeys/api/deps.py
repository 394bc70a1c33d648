"""Defines FastAPI's dependencies of the handlers: each gets the one service that it calls."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Query, Request

from vpnkeys.api.auth.access import AccessControl
from vpnkeys.api.counts import Metrics
from vpnkeys.api.feed import Feed
from vpnkeys.api.rendered import RenderedKeys
from vpnkeys.api.services import Services
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.server.news import News
from vpnkeys.server.pools import Batches, SharedCall
from vpnkeys.service.audit import AuditLog
from vpnkeys.service.backups import BackupService
from vpnkeys.service.change.doors import DoorService
from vpnkeys.service.health.health import HealthReport
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.nodes.fleet import Fleet
from vpnkeys.service.nodes.nodes import NodeService
from vpnkeys.service.nodes.reports import Reported
from vpnkeys.service.nodes.wanted import Wanted
from vpnkeys.service.report import Reporter
from vpnkeys.service.selftest import SelfTest
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.service.system import SystemService
from vpnkeys.service.tokens import Identity, TokenService
from vpnkeys.service.traffic import TrafficService
from vpnkeys.service.webhooks import WebhookService

S = TypeVar("S")


def _service(pick: Callable[[Services], S]) -> Callable[[Request], Awaitable[S]]:
    """Return a dependency on one of the services; a coroutine, because FastAPI calls other functions in a thread."""

    async def provide(request: Request) -> S:
        return pick(services_of(request))

    return provide


async def access_control(request: Request) -> AccessControl:
    """Return the access control, for routes that recognise their callers themselves."""
    return access_of(request)


async def feed(request: Request) -> Feed:
    """Return what the streams of events report."""
    found: Feed = request.app.state.feed
    return found


async def health(request: Request) -> SharedCall[HealthReport]:
    """Return the report of health, which all who ask at once share."""
    found: SharedCall[HealthReport] = request.app.state.health
    return found


async def identity(request: Request) -> Identity:
    """Return who sends this request; only for routes that require a scope."""
    found: Identity = request.state.identity
    return found


async def metrics(request: Request) -> Metrics:
    """Return the metrics of this server."""
    found: Metrics = request.app.state.metrics
    return found


# Plain routes call these themselves, as they have no dependencies.


def access_of(request: Request) -> AccessControl:
    """Return the access control."""
    found: AccessControl = request.app.state.access_control
    return found


def news_of(request: Request) -> News:
    """Return what wakes the requests of agents."""
    found: News = request.app.state.news
    return found


def reports_of(request: Request) -> Batches[Reported, Wanted]:
    """Return what stores the reports of agents."""
    found: Batches[Reported, Wanted] = request.app.state.reports
    return found


def services_of(request: Request) -> Services:
    """Return all services."""
    found: Services = request.app.state.services
    return found


def rendered_keys(request: Request) -> RenderedKeys:
    """Return the keys as ready JSON."""
    found: RenderedKeys = request.app.state.rendered_keys
    return found


def named_node(request: Request, id_or_name: str) -> NodeRef:
    """Return the node with this id or name. Raises NodeNotFound."""
    return services_of(request).fleet.nodes.find(id_or_name)


KeyId = Annotated[str, Path(description="the key's id or its UUID")]
KeysDep = Annotated[KeyService, Depends(_service(lambda services: services.keys))]


# A coroutine, because the store has the keys in memory: a thread would cost more than the look-up.
async def key(key_id: KeyId, keys: KeysDep) -> Key:
    """Return the key that the path names. Raises KeyNotFound."""
    return keys.get(key_id)


AccessControlDep = Annotated[AccessControl, Depends(access_control)]
AuditDep = Annotated[AuditLog, Depends(_service(lambda services: services.audit))]
BackupsDep = Annotated[BackupService, Depends(_service(lambda services: services.backups))]
DoorsDep = Annotated[DoorService, Depends(_service(lambda services: services.doors))]
EnforcerDep = Annotated[Enforcer, Depends(_service(lambda services: services.enforcer))]
FeedDep = Annotated[Feed, Depends(feed)]
HealthDep = Annotated[SharedCall[HealthReport], Depends(health)]
IdentityDep = Annotated[Identity, Depends(identity)]
KeyDep = Annotated[Key, Depends(key)]
FleetDep = Annotated[Fleet, Depends(_service(lambda services: services.fleet))]
NodesDep = Annotated[NodeService, Depends(_service(lambda services: services.fleet.nodes))]


# A coroutine, as for a key.
async def asked_nodes(
    nodes: NodesDep,
    node: Annotated[str | None, Query(description="id or name of the node; only the built-in one has it")] = None,
) -> tuple[NodeRef, ...]:
    """Return the nodes that a request is about. Raises NodeNotFound."""
    return nodes.asked(node)


async def summed_nodes(
    nodes: NodesDep,
    node: Annotated[str | None, Query(description="id or name of the node; only the built-in one has it")] = None,
) -> tuple[NodeRef, ...]:
    """Return the same; none, for the sum of all, where this server runs no node itself. Raises NodeNotFound."""
    return () if node is None and not nodes.has_local else nodes.asked(node)


AskedNodesDep = Annotated[tuple[NodeRef, ...], Depends(asked_nodes)]
SummedNodesDep = Annotated[tuple[NodeRef, ...], Depends(summed_nodes)]
MetricsDep = Annotated[Metrics, Depends(metrics)]
ReporterDep = Annotated[Reporter, Depends(_service(lambda services: services.reporter))]
SelfTestDep = Annotated[SelfTest, Depends(_service(lambda services: services.selftest))]
ServicesDep = Annotated[Services, Depends(_service(lambda services: services))]
SubscriptionsDep = Annotated[SubscriptionService, Depends(_service(lambda services: services.subscriptions))]
SystemDep = Annotated[SystemService, Depends(_service(lambda services: services.system))]
TokensDep = Annotated[TokenService, Depends(_service(lambda services: services.tokens))]
TrafficDep = Annotated[TrafficService, Depends(_service(lambda services: services.traffic))]
WebhooksDep = Annotated[WebhookService, Depends(_service(lambda services: services.webhooks))]
