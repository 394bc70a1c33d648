"""The table of problems: `/health`, the metrics, `vpnkeys status`, `vpnkeys doctor` and the manual have these codes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Code(StrEnum):
    """The stable code of a problem."""

    XRAY_NOT_ANSWERING = "xray_not_answering"
    DATABASE_UNREADABLE = "database_unreadable"
    DATABASE_UNWRITABLE = "database_unwritable"
    DISK_FULL = "disk_full"
    DISK_LOW = "disk_low"
    DISK_READ_ONLY = "disk_read_only"
    SECRET_MISSING = "secret_missing"  # noqa: S105 - the code of a problem
    STOPS_PENDING = "stops_pending"
    STOPS_UNWRITTEN = "stops_unwritten"
    REPAIR_LATE = "repair_late"
    DRIFT_RETURNS = "drift_returns"
    PORT_TAKEN = "port_taken"
    PORTS_RESERVED = "ports_reserved"
    DOOR_CLOSED = "door_closed"
    CONFIG_UNFIT = "config_unfit"
    CONFIG_LEFT_OUT = "config_left_out"
    CONFIG_COMMENTS = "config_comments"
    CONFIG_SET_ASIDE = "config_set_aside"
    SERVER_ADDRESS = "server_address"
    NO_SERVER_NAME = "no_server_name"
    TARGET_DOWN = "target_down"
    NODE_SILENT = "node_silent"
    CONNECTIONS_NOT_CUT = "connections_not_cut"
    GUARD_NOT_KEPT = "guard_not_kept"
    CONNECTIONS_UNBOUNDED = "connections_unbounded"
    DESCRIPTORS_LOW = "descriptors_low"
    CONNTRACK_LOW = "conntrack_low"
    SPEED_LIMITS_NOT_KEPT = "speed_limits_not_kept"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_UNFIT = "certificate_unfit"
    CERTIFICATE_RENEWAL = "certificate_renewal"
    BACKUP_LATE = "backup_late"
    WORKER_LATE = "worker_late"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of problem: what is wrong, and what to do about it.

    It is reported after it has lasted for `after_s`. It makes the server `unhealthy` after `unhealthy_after_s`, and
    `degraded` before. `/health` is open to all, so `says` has no secret, no name of a key, no path and no address.
    """

    says: str
    cure: str
    after_s: float = 0.0
    unhealthy_after_s: float = math.inf


_BACK_WITHIN_S = 30.0
_DONE_SOON_S = 3.0
_REPLACED_WITHIN_S = 10.0

TROUBLES: Mapping[Code, Trouble] = MappingProxyType(
    {
        Code.XRAY_NOT_ANSWERING: Trouble(
            "Xray does not answer; after 30 seconds the server is unhealthy.",
            "`journalctl -u vpnkeys-xray`; `vpnkeys sync --restart`",
            unhealthy_after_s=_BACK_WITHIN_S,
        ),
        Code.DATABASE_UNREADABLE: Trouble(
            "The database cannot be read, so that no key can be listed or changed.",
            "`vpnkeys doctor`; restore a backup if the database is damaged",
            unhealthy_after_s=0.0,
        ),
        Code.DATABASE_UNWRITABLE: Trouble(
            "The database takes no writes: no key can be made or changed, and traffic is not stored.",
            "close other programs that have the database open; `df -h /var/lib/vpnkeys`, or free space on the disk of "
            "PostgreSQL",
        ),
        Code.DISK_FULL: Trouble(
            "The disk of the data directory is full: no more than the reserve is left, which stops and traffic use up.",
            "free some space: `df -h /var/lib/vpnkeys`",
        ),
        Code.DISK_LOW: Trouble(
            "The disk of the data directory is nearly full.", "free some space: `df -h /var/lib/vpnkeys`"
        ),
        Code.DISK_READ_ONLY: Trouble(
            "Nothing can be written to the data directory: its disk is read-only, or its permissions are wrong.",
            "`findmnt -T /var/lib/vpnkeys`; `dmesg`; `mount -o remount,rw`",
        ),
        Code.SECRET_MISSING: Trouble(
            "A secret of the data directory is missing or damaged: the server goes on; its next start will be refused.",
            "remove it if it is damaged; then `vpnkeys system fix-reality-keys` writes `reality.json` again, and "
            "`VPNKEYS_API_KEY` replaces `api-key.json`",
        ),
        Code.STOPS_PENDING: Trouble(
            "Xray has not confirmed yet that stopped keys are out.",
            "wait until Xray answers; then `vpnkeys sync`",
            after_s=_DONE_SOON_S,
        ),
        Code.STOPS_UNWRITTEN: Trouble(
            "Keys are stopped, but the database has not stored it.",
            "free some space, or close other programs that have the database open",
        ),
        Code.REPAIR_LATE: Trouble(
            "config.json or the running Xray differ from the database and cannot be repaired.",
            "`vpnkeys system validate` shows the differences; the log has the reason",
        ),
        Code.DRIFT_RETURNS: Trouble(
            "Another program changes config.json or the running Xray again and again; each time it is repaired.",
            "find the other panel or script on this host; each repair is in the log as a line with `drift:`",
        ),
        Code.PORT_TAKEN: Trouble(
            "Another program, another server or an inbound of yours has a port of a key: its customers may not get in.",
            "`vpnkeys system ports-status` names it; stop that program, or `vpnkeys keys set ID --port 0`",
        ),
        Code.DOOR_CLOSED: Trouble(
            "A door is left out: another program has its port, this host lacks its address, or Xray refuses it. Old "
            "links of imported keys do not work.",
            "`vpnkeys import doors` has the reason; stop the program, which may be the old panel's Xray; or `vpnkeys "
            "import close-door TAG`",
        ),
        Code.PORTS_RESERVED: Trouble(
            "Inbounds of your own in config.json have ports of VPNKEYS_PORT_RANGE. They stay; no new key gets one.",
            "`vpnkeys system ports-status` names them; move them out of the range",
        ),
        Code.CONFIG_UNFIT: Trouble(
            "Xray refuses config.json: it is no JSON, or has other sections that are wrong. Xray starts without these.",
            "`vpnkeys system xray-config` has the reason; correct the section or remove it",
        ),
        Code.CONFIG_LEFT_OUT: Trouble(
            "Xray runs without your own sections of config.json, as it did not start with them.",
            "correct them, the log of Xray has the reason; then `vpnkeys sync --restart`",
        ),
        Code.CONFIG_COMMENTS: Trouble(
            "config.json has comments. The next change of a key writes it without them, and keeps a copy.",
            "keep your notes elsewhere, and remove the comments",
        ),
        Code.CONFIG_SET_ASIDE: Trouble(
            "config.json was written anew, and what it lost is in a copy beside it.",
            "put what you need back into config.json; then delete the copy, or move it elsewhere",
        ),
        Code.SERVER_ADDRESS: Trouble(
            "The address in the links is this host's guess, by which customers may not reach it.",
            "set `VPNKEYS_SERVER_ADDRESS` to the address or name that customers connect to; restart the service",
        ),
        Code.NO_SERVER_NAME: Trouble(
            "No server name works: no key can be made, and no customer gets in. After 30 seconds the server is "
            "unhealthy.",
            "`vpnkeys system targets`; check outgoing TCP 443 and DNS",
            unhealthy_after_s=_BACK_WITHIN_S,
        ),
        Code.TARGET_DOWN: Trouble(
            "The target of a server name that active keys use, or of a door, is not fit: customers may not get in.",
            "`vpnkeys system targets` names it and its keys; `vpnkeys keys rotate KEY --sni` gives a key another name; "
            "`vpnkeys import doors` names a door, whose customers need their new links",
        ),
        Code.NODE_SILENT: Trouble(
            "A node was not heard of for 15 seconds: no key is made there, and changes of its keys wait until it is "
            "back. Its customers may notice nothing.",
            "`vpnkeys nodes list` names it; on its machine, see whether `vpnkeys agent` runs and what its log says. If "
            "the machine is gone for good: `vpnkeys nodes set NODE --state lost`",
        ),
        Code.CONNECTIONS_NOT_CUT: Trouble(
            "Open connections of stopped keys cannot be ended.", "give the service `CAP_NET_ADMIN`: run it as installed"
        ),
        Code.GUARD_NOT_KEPT: Trouble(
            "The packet filter is not in force: only Xray's own rules keep customers out of private networks. "
            "Calls and games may fail.",
            "`apt-get install nftables`; run the service as installed, with `CAP_NET_ADMIN`; restart it",
        ),
        Code.CONNECTIONS_UNBOUNDED: Trouble(
            "The kernel does not bound the connections of one address: a flood of them may keep customers out.",
            "`apt-get install nftables`; run the service as installed, with `CAP_NET_ADMIN`; restart it",
        ),
        Code.DESCRIPTORS_LOW: Trouble(
            "Xray has used most of its file descriptors: when none is left, no customer gets in.",
            "`vpnkeys doctor` has the command that gives it more; lower `VPNKEYS_CONNECTIONS_PER_SOURCE` in a flood",
        ),
        Code.CONNTRACK_LOW: Trouble(
            "The kernel's table of connections is nearly full: when it is, this host gets no new connections.",
            "`sysctl -w net.netfilter.nf_conntrack_max=1048576`, and the same in a file of `/etc/sysctl.d`",
        ),
        Code.SPEED_LIMITS_NOT_KEPT: Trouble(
            "The speed limits are gone and cannot be restored.", "`nft list ruleset`; restart the service"
        ),
        Code.CERTIFICATE_EXPIRED: Trouble(
            "The certificate of the API has expired.", "renew the certificate; `vpnkeys doctor`"
        ),
        Code.CERTIFICATE_EXPIRING: Trouble(
            "The certificate of the API expires within 14 days.", "renew the certificate; `vpnkeys doctor`"
        ),
        Code.CERTIFICATE_NOT_YET_VALID: Trouble(
            "The certificate of the API is not valid yet: clients refuse it.",
            "set this host's clock, or put a certificate there that is valid now; `vpnkeys doctor`",
        ),
        Code.CERTIFICATE_UNFIT: Trouble(
            "The files of the API's certificate are no such pair. The one before serves; the next start is refused.",
            "put a certificate and its key there, in PEM and without a password; `vpnkeys doctor`",
            after_s=_REPLACED_WITHIN_S,
        ),
        Code.CERTIFICATE_RENEWAL: Trouble(
            "The authority has issued no certificate for the domain. The one before stays, or a self-signed one.",
            "`journalctl -u vpnkeys` has its words. The name must lead to this server, and TCP 80 (443, if the API is "
            "there) must be open to all. It is tried again by itself",
        ),
        Code.BACKUP_LATE: Trouble("The daily backup is overdue.", "`vpnkeys backups make`; the log has the reason"),
        Code.WORKER_LATE: Trouble(
            "Background work is overdue.", "the log has the reason; restart the service if it stays"
        ),
    }
)
