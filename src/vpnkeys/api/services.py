"""Names the services that the API's handlers call: all that the API knows of the rest of the server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.service.audit import AuditLog
from vpnkeys.service.backups import BackupService
from vpnkeys.service.change.doors import DoorService
from vpnkeys.service.health.health import Health
from vpnkeys.service.health.overview import Overview
from vpnkeys.service.health.vitals import Vitals
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.nodes.fleet import Fleet
from vpnkeys.service.report import Reporter
from vpnkeys.service.selftest import SelfTest
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.service.system import SystemService
from vpnkeys.service.tokens import TokenService
from vpnkeys.service.traffic import TrafficService
from vpnkeys.service.webhooks import WebhookService


@dataclass(frozen=True, slots=True)
class Services:
    """Holds the services of one server. `site` is a function, because the key pair in it can be reloaded.

    `look` looks at a database elsewhere; None where the database answers at once.
    `public_url` is the base of the public addresses when the operator has set one, else empty.
    """

    audit: AuditLog
    backups: BackupService
    doors: DoorService
    enforcer: Enforcer
    fleet: Fleet
    health: Health
    keys: KeyService
    look: Callable[[], None] | None
    overview: Callable[[], Overview]
    rate_limits: Mapping[str, str]
    reporter: Reporter
    selftest: SelfTest
    site: Callable[[], ServerIdentity]
    subscriptions: SubscriptionService
    system: SystemService
    tokens: TokenService
    traffic: TrafficService
    vitals: Callable[[], Vitals]
    webhooks: WebhookService
    xray_version: str
    cors_origins: tuple[str, ...] = ()
    public_url: str = ""
