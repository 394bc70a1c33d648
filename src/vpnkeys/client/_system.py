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


class SystemRequests:
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""

    @Request
    def overview(self) -> Call[Overview]:
        """Return the server at a glance: versions, host, who is online, and the last 15 minutes."""
        return one(Overview, "GET", "/api/system/overview")

    @Request
    def plan(self) -> Call[SyncPlan]:
        """Return what `sync_config` would do now; changes nothing."""
        return one(SyncPlan, "GET", "/api/system/plan")

    @Request
    def ports_plan(self) -> Call[PortsPlan]:
        """Return what `reset_ports` would do now; changes nothing."""
        return one(PortsPlan, "GET", "/api/system/ports/plan")

    @Request
    def targets(self) -> Call[Targets]:
        """Return how the REALITY targets are; the server probes them every minute."""
        return one(Targets, "GET", "/api/system/targets")

    @Request
    def sync_config(self) -> Call[Synced]:
        """Bring config.json and Xray to what the database says, without a restart where that is possible."""
        return one(Synced, "POST", "/api/system/sync-config")

    @Request
    def config_status(self) -> Call[ConfigStatus]:
        """Return whether config.json follows the database."""
        return one(ConfigStatus, "GET", "/api/system/config-status")

    @Request
    def verify_reality(self) -> Call[RealityVerified]:
        """Check every REALITY setting and every target, repair what differs, and return what was found."""
        return one(RealityVerified, "POST", "/api/system/verify-reality")

    @Request
    def ports(self) -> Call[Ports]:
        """Return which key has which port."""
        return one(Ports, "GET", "/api/system/ports")

    @Request
    def reset_ports(self) -> Call[PortsReset]:
        """Hand all ports out again from the lowest, and return the keys that got another one; they need a new link."""
        return one(PortsReset, "POST", "/api/system/ports/reset")

    @Request
    def ports_status(self) -> Call[PortsStatus]:
        """Return what is wrong with the ports."""
        return one(PortsStatus, "GET", "/api/system/ports/status")

    @Request
    def xray_config_status(self) -> Call[XrayConfigStatus]:
        """Return what config.json holds, and whether Xray accepts it."""
        return one(XrayConfigStatus, "GET", "/api/system/xray/config-status")

    @Request
    def xray_inbounds(self) -> Call[XrayInbounds]:
        """Return the VLESS inbounds of config.json."""
        return one(XrayInbounds, "GET", "/api/system/xray/inbounds")

    @Request
    def xray_sync_config(self, *, force: bool = False) -> Call[XraySynced]:
        """Bring config.json to what the database says and restart Xray: every customer is disconnected for a moment.

        Calls within five seconds share one restart, unless with `force`.
        """
        params = {"force": "true"} if force else {}
        return one(XraySynced, "POST", "/api/system/xray/sync-config", params=params)

    @Request
    def xray_validate_sync(self) -> Call[XrayValidated]:
        """Compare the database with config.json and the running Xray, and return how they differ."""
        return one(XrayValidated, "GET", "/api/system/xray/validate-sync")

    @Request
    def fix_reality_keys(self) -> Call[RealityFixed]:
        """Put the stored REALITY key pair back into config.json and restart Xray."""
        return one(RealityFixed, "POST", "/api/system/fix-reality-keys")


class System(Part, SystemRequests):
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""


class AsyncSystem(AsyncPart, SystemRequests):
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""
