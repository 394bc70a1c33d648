"""One VLESS + REALITY inbound of Xray, as a value: what is wanted, what is in the file and what runs, alike."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias
from uuid import UUID

from vpnkeys.domain.key import VISION, Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.memo import Memo
from vpnkeys.domain.reality import pad_short_id

KEY_TAG_PREFIX = "key-"
WARM_TAG_PREFIX = "warm-"

# Newer Xray versions take an empty minClientVer as "my own version or later", which shuts other clients out
# (measured: mihomo from 26.7.11, sing-box from 26.9.8). This asks for nothing.
ANY_CLIENT_VERSION = "0.0.0"


@dataclass(frozen=True, slots=True)
class Client:
    """A VLESS client of an inbound. `email` names its traffic counters in Xray; ours is the UUID."""

    uuid: str
    email: str
    flow: str = VISION


@dataclass(frozen=True, slots=True)
class Reality:
    """REALITY's settings. `target` is `host:port`; `private_key` is base64url; `short_ids` have 16 hex digits each.

    All 16, because a shorter element in a gRPC message would panic the whole Xray.
    """

    target: str
    server_names: tuple[str, ...]
    private_key: str = field(repr=False)
    short_ids: tuple[str, ...]
    min_client_version: str = ANY_CLIENT_VERSION


@dataclass(frozen=True, slots=True)
class Inbound:
    """An inbound. `listen` is an IP address, or the path of a Unix socket when `port` is None."""

    tag: str
    listen: str
    port: int | None
    clients: tuple[Client, ...]
    reality: Reality


@dataclass(frozen=True, slots=True)
class ForeignInbound:
    """An inbound that is not of our form, whatever its tag: what can be told of it. It equals no Inbound."""

    tag: str
    port: int | None
    protocol: str = ""
    uuids: tuple[str, ...] = ()
    short_ids: tuple[str, ...] = ()
    target: str = ""
    server_names: tuple[str, ...] = ()


AnyInbound: TypeAlias = Inbound | ForeignInbound


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What all inbounds of this server share, and what is put into links.

    `socket_dir` is where warm inbounds have their Unix sockets.
    """

    listen: str
    private_key: str = field(repr=False)
    socket_dir: str
    server_names: tuple[str, ...]
    forced_target: str = ""
    server_address: str = ""
    public_key: str = ""

    def target(self, server_name: str) -> str:
        """The REALITY target of a server name: its own host, unless one target is forced for all names.

        A shared target with foreign names breaks the camouflage: it would answer with another site's certificate.
        """
        return self.forced_target or f"{server_name}:443"


def key_inbound(key: Key, site: ServerIdentity) -> Inbound:
    """The inbound that carries this key."""
    return Inbound(
        tag=key.tag,
        listen=site.listen,
        port=key.port,
        clients=(Client(uuid=key.uuid, email=key.uuid, flow=key.flow),),
        reality=Reality(
            target=site.target(key.sni),
            server_names=(key.sni,),
            private_key=site.private_key,
            short_ids=(pad_short_id(key.short_id),),
        ),
    )


def warm_inbound(server_name: str, site: ServerIdentity) -> Inbound:
    """The inbound that makes Xray probe this server name's target before any customer needs it.

    REALITY probes each (target, server name, ALPN) once per Xray process, for up to five seconds, and lets every client
    that comes before the end sleep five seconds (`record_detect.go` and `tls.go` of xtls/reality). This inbound has the
    same target and name as the keys to come. It listens on a Unix socket, so that nobody from outside reaches it, and
    whoever gets in is answered by Xray itself (see the `warmed` outbound), never sent on.
    """
    index = site.server_names.index(server_name)
    digest = hashlib.sha256(f"{server_name} {site.private_key}".encode()).digest()
    return Inbound(
        tag=f"{WARM_TAG_PREFIX}{server_name}",
        listen=f"{site.socket_dir}/warm-{index}.sock,0600",
        port=None,
        clients=(Client(uuid=str(UUID(bytes=digest[:16], version=4)), email="", flow=""),),
        reality=Reality(
            target=site.target(server_name),
            server_names=(server_name,),
            private_key=site.private_key,
            short_ids=(digest[16:24].hex(),),
        ),
    )


@lru_cache(maxsize=16)
def warm_inbounds(site: ServerIdentity) -> tuple[Inbound, ...]:
    """A warm inbound for each server name."""
    return tuple(warm_inbound(name, site) for name in site.server_names)


def desired_inbounds(keys: Iterable[Key], site: ServerIdentity) -> tuple[Inbound, ...]:
    """Everything that Xray should run for us: a warm inbound for each server name, then the active keys by port."""
    active = sorted((key for key in keys if key.status is Status.ACTIVE), key=lambda key: key.port)
    return (
        *warm_inbounds(site),
        *_key_inbounds(site).map(active),
    )


@lru_cache(maxsize=16)
def _key_inbounds(site: ServerIdentity) -> Memo[Key, Inbound]:
    return Memo(lambda key: key_inbound(key, site))
