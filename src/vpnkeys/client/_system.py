"""`/api/system`: what is, and repairs."""

from vpnkeys.client._http import Http
from vpnkeys.wire.plans import PortsPlan, SyncPlan, Targets
from vpnkeys.wire.ports import Ports, PortsReset, PortsStatus
from vpnkeys.wire.system import (
    ConfigStatus,
    RealityFixed,
    RealityVerified,
    Synced,
    XrayConfigStatus,
    XrayInbounds,
    XraySynced,
    XrayValidated,
)


class System:
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def plan(self) -> SyncPlan:
        """Return what `sync_config` would do now; changes nothing."""
        return self._http.one(SyncPlan, "GET", "/api/system/plan")

    def ports_plan(self) -> PortsPlan:
        """Return what `reset_ports` would do now; changes nothing."""
        return self._http.one(PortsPlan, "GET", "/api/system/ports/plan")

    def targets(self) -> Targets:
        """Return how the REALITY targets are; the server probes them every minute."""
        return self._http.one(Targets, "GET", "/api/system/targets")

    def sync_config(self) -> Synced:
        """Bring config.json and Xray to what the database says, without a restart where that is possible."""
        return self._http.one(Synced, "POST", "/api/system/sync-config")

    def config_status(self) -> ConfigStatus:
        """Return whether config.json follows the database."""
        return self._http.one(ConfigStatus, "GET", "/api/system/config-status")

    def verify_reality(self) -> RealityVerified:
        """Check every REALITY setting and every target, repair what differs, and return what was found."""
        return self._http.one(RealityVerified, "POST", "/api/system/verify-reality")

    def ports(self) -> Ports:
        """Return which key has which port."""
        return self._http.one(Ports, "GET", "/api/system/ports")

    def reset_ports(self) -> PortsReset:
        """Hand all ports out again from the lowest, and return the keys that got another one; they need a new link."""
        return self._http.one(PortsReset, "POST", "/api/system/ports/reset")

    def ports_status(self) -> PortsStatus:
        """Return what is wrong with the ports."""
        return self._http.one(PortsStatus, "GET", "/api/system/ports/status")

    def xray_config_status(self) -> XrayConfigStatus:
        """Return what config.json holds, and whether Xray accepts it."""
        return self._http.one(XrayConfigStatus, "GET", "/api/system/xray/config-status")

    def xray_inbounds(self) -> XrayInbounds:
        """Return the VLESS inbounds of config.json."""
        return self._http.one(XrayInbounds, "GET", "/api/system/xray/inbounds")

    def xray_sync_config(self, *, force: bool = False) -> XraySynced:
        """Bring config.json to what the database says and restart Xray: every customer is disconnected for a moment.

        Calls within five seconds share one restart, unless with `force`.
        """
        params = {"force": "true"} if force else {}
        return self._http.one(XraySynced, "POST", "/api/system/xray/sync-config", params=params)

    def xray_validate_sync(self) -> XrayValidated:
        """Compare the database with config.json and the running Xray, and return how they differ."""
        return self._http.one(XrayValidated, "GET", "/api/system/xray/validate-sync")

    def fix_reality_keys(self) -> RealityFixed:
        """Put the stored REALITY key pair back into config.json and restart Xray."""
        return self._http.one(RealityFixed, "POST", "/api/system/fix-reality-keys")
