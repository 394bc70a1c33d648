"""`/api/system`: what is, and repairs."""

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, one
from vpnkeys.wire.plans import PortsPlan, SyncPlan, Targets
from vpnkeys.wire.ports import Ports, PortsReset, PortsStatus
from vpnkeys.wire.system import (
    ConfigStatus,
    Overview,
    RealityFixed,
    RealityVerified,
    Synced,
    XrayConfigStatus,
    XrayInbounds,
    XraySynced,
    XrayValidated,
)


def _of(node: str | None) -> dict[str, str]:
    return {} if node is None else {"node": node}


class SystemRequests:
    """`/api/system`: the database, config.json and the running Xray, compared and brought together.

    `node` is the id or name of a node; without it all are meant. Raises NotFound when there is no such node.
    """

    @Request
    def overview(self, *, node: str | None = None) -> Call[Overview]:
        """Return the server at a glance: versions, host, who is online, and the last 15 minutes."""
        return one(Overview, "GET", "/api/system/overview", params=_of(node))

    @Request
    def plan(self, *, node: str | None = None) -> Call[SyncPlan]:
        """Return what `sync_config` would do now; changes nothing."""
        return one(SyncPlan, "GET", "/api/system/plan", params=_of(node))

    @Request
    def ports_plan(self, *, node: str | None = None) -> Call[PortsPlan]:
        """Return what `reset_ports` would do now; changes nothing."""
        return one(PortsPlan, "GET", "/api/system/ports/plan", params=_of(node))

    @Request
    def targets(self, *, node: str | None = None) -> Call[Targets]:
        """Return how the REALITY targets are; the server probes them every minute."""
        return one(Targets, "GET", "/api/system/targets", params=_of(node))

    @Request
    def sync_config(self, *, node: str | None = None) -> Call[Synced]:
        """Bring config.json and Xray to what the database says, without a restart where that is possible."""
        return one(Synced, "POST", "/api/system/sync-config", params=_of(node))

    @Request
    def config_status(self, *, node: str | None = None) -> Call[ConfigStatus]:
        """Return whether config.json follows the database."""
        return one(ConfigStatus, "GET", "/api/system/config-status", params=_of(node))

    @Request
    def verify_reality(self, *, node: str | None = None) -> Call[RealityVerified]:
        """Check every REALITY setting and every target, repair what differs, and return what was found."""
        return one(RealityVerified, "POST", "/api/system/verify-reality", params=_of(node))

    @Request
    def ports(self, *, node: str | None = None) -> Call[Ports]:
        """Return which key has which port."""
        return one(Ports, "GET", "/api/system/ports", params=_of(node))

    @Request
    def reset_ports(self, *, node: str | None = None) -> Call[PortsReset]:
        """Hand all ports out again from the lowest, and return the keys that got another one; they need a new link."""
        return one(PortsReset, "POST", "/api/system/ports/reset", params=_of(node))

    @Request
    def ports_status(self, *, node: str | None = None) -> Call[PortsStatus]:
        """Return what is wrong with the ports."""
        return one(PortsStatus, "GET", "/api/system/ports/status", params=_of(node))

    @Request
    def xray_config_status(self, *, node: str | None = None) -> Call[XrayConfigStatus]:
        """Return what config.json holds, and whether Xray accepts it."""
        return one(XrayConfigStatus, "GET", "/api/system/xray/config-status", params=_of(node))

    @Request
    def xray_inbounds(self, *, node: str | None = None) -> Call[XrayInbounds]:
        """Return the VLESS inbounds of config.json."""
        return one(XrayInbounds, "GET", "/api/system/xray/inbounds", params=_of(node))

    @Request
    def xray_sync_config(self, *, force: bool = False, node: str | None = None) -> Call[XraySynced]:
        """Bring config.json to what the database says and restart Xray: every customer is disconnected for a moment.

        Calls within five seconds share one restart, unless with `force`.
        """
        params = {**_of(node), **({"force": "true"} if force else {})}
        return one(XraySynced, "POST", "/api/system/xray/sync-config", params=params)

    @Request
    def xray_validate_sync(self, *, node: str | None = None) -> Call[XrayValidated]:
        """Compare the database with config.json and the running Xray, and return how they differ."""
        return one(XrayValidated, "GET", "/api/system/xray/validate-sync", params=_of(node))

    @Request
    def fix_reality_keys(self, *, node: str | None = None) -> Call[RealityFixed]:
        """Put the stored REALITY key pair back into config.json and restart Xray."""
        return one(RealityFixed, "POST", "/api/system/fix-reality-keys", params=_of(node))


class System(Part, SystemRequests):
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""


class AsyncSystem(AsyncPart, SystemRequests):
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""
