"""VLESS + REALITY inbounds of Xray as values: one type for the wanted, the configured and the running ones."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias
from uuid import UUID

from vpnkeys.domain.key import VISION, Key, Keys
from vpnkeys.domain.limits import Status
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.reality import UNLIMITED, FallbackLimit, Fingerprint, fallback_limits
from vpnkeys.memo import Memo

WARM_TAG_PREFIX = "warm-"

# Newer Xray versions take an empty minClientVer as "my own version or later", which shuts other clients out
# (measured: mihomo from 26.7.11, sing-box from 26.9.8). "0.0.0" accepts every client.
ANY_CLIENT_VERSION = "0.0.0"


@dataclass(frozen=True, slots=True)
class VlessClient:
    """A client is a VLESS user of an inbound. `email` names its traffic counters in Xray, see `Key.account`."""

    uuid: str
    email: str
    flow: str = VISION


@dataclass(frozen=True, slots=True)
class Reality:
    """The REALITY settings of an inbound.

    `target` is `host:port`; `private_key` is base64url; `short_ids` have 16 hex digits each: a shorter one in a gRPC
    message makes the whole Xray process panic.
    """

    target: str
    server_names: tuple[str, ...]
    private_key: str = field(repr=False)
    short_ids: tuple[str, ...]
    min_client_version: str = ANY_CLIENT_VERSION
    fallback_up: FallbackLimit = UNLIMITED
    fallback_down: FallbackLimit = UNLIMITED


@dataclass(frozen=True, slots=True)
class Inbound:
    """An inbound of our form. `listen` is an IP address, or the path of a Unix socket when `port` is None."""

    tag: str
    listen: str
    port: int | None
    clients: tuple[VlessClient, ...]
    reality: Reality


@dataclass(frozen=True, slots=True)
class ForeignInbound:
    """An inbound that is not of our form, whatever its tag, with the fields that were read. It equals no Inbound."""

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
    """The values that all inbounds of this server share, and those that links carry.

    `socket_dir` is the directory for the Unix sockets of warm inbounds. `doors` are those that are open.
    """

    listen: str
    private_key: str = field(repr=False)
    socket_dir: str
    server_names: tuple[str, ...]
    forced_target: str = ""
    server_address: str = ""
    public_key: str = ""
    fingerprint: Fingerprint = Fingerprint.CHROME
    doors: tuple[Door, ...] = field(default=(), hash=False)

    def target(self, server_name: str) -> str:
        """Return the REALITY target for a server name: the name's own host, unless one target is forced for all names.

        A forced target weakens the camouflage: to a probe it answers with a certificate for another site.
        """
        return self.forced_target or f"{server_name}:443"

    def fingerprint_of(self, key: Key) -> Fingerprint:
        """Return the fingerprint for this key's clients: its own, else the server's."""
        return key.fingerprint or self.fingerprint


SiteOf: TypeAlias = Callable[[Key], ServerIdentity]
"""Returns what the links of a key carry: those of two nodes differ in address and public key."""


def key_inbound(key: Key, site: ServerIdentity) -> Inbound:
    """Return the inbound that carries this key."""
    return Inbound(
        tag=key.tag,
        listen=site.listen,
        port=key.port,
        clients=(VlessClient(uuid=key.uuid, email=key.account, flow=key.flow),),
        reality=_reality(key.sni, key.whole_short_id, site),
    )


def door_inbound(door: Door, keys: Keys, site: ServerIdentity) -> Inbound | None:
    """Return the inbound of a door with the keys that it lets in now; None when there are none."""
    clients = tuple(VlessClient(member.uuid, member.uuid, member.flow) for member in door.let_in(keys))
    if not clients:
        return None
    up, down = fallback_limits(door.server_names[0], door.private_key)
    return Inbound(
        tag=door.tag,
        listen=door.listen or site.listen,
        port=door.port,
        clients=clients,
        reality=Reality(
            target=door.target,
            server_names=door.server_names,
            private_key=door.private_key,
            short_ids=door.short_ids,
            fallback_up=up,
            fallback_down=down,
        ),
    )


def _reality(server_name: str, short_id: str, site: ServerIdentity) -> Reality:
    up, down = fallback_limits(server_name, site.private_key)
    return Reality(
        target=site.target(server_name),
        server_names=(server_name,),
        private_key=site.private_key,
        short_ids=(short_id,),
        fallback_up=up,
        fallback_down=down,
    )


def warm_inbound(server_name: str, site: ServerIdentity) -> Inbound:
    """Return the inbound that makes Xray probe this server name's target before any customer connects.

    REALITY probes each (target, server name, ALPN) once per Xray process, for up to five seconds, and makes every
    client that connects during the probe wait five seconds (`record_detect.go` and `tls.go` of xtls/reality). This
    inbound has the same target and name as future keys. It listens on a Unix socket, out of reach for other machines,
    and Xray itself answers its clients (the `warmed` outbound): nothing is forwarded.
    """
    # Numbered, not named: a Unix socket's path has at most 108 bytes (unix(7)), and a server name may have 253.
    index = site.server_names.index(server_name)
    # Derived from the private key: the same at every start, and unknown to others.
    digest = hashlib.sha256(f"{server_name} {site.private_key}".encode()).digest()
    return Inbound(
        tag=f"{WARM_TAG_PREFIX}{server_name}",
        listen=f"{site.socket_dir}/warm-{index}.sock,0600",  # Xray takes the file mode from behind the comma
        port=None,
        clients=(VlessClient(uuid=str(UUID(bytes=digest[:16], version=4)), email="", flow=""),),
        reality=_reality(server_name, digest[16:24].hex(), site),
    )


@lru_cache(maxsize=16)
def warm_inbounds(site: ServerIdentity) -> tuple[Inbound, ...]:
    """Return a warm inbound for each server name."""
    return tuple(warm_inbound(name, site) for name in site.server_names)


def desired_inbounds(keys: Iterable[Key], site: ServerIdentity) -> tuple[Inbound, ...]:
    """Return all inbounds that Xray should run: a warm one for each server name, then by port active keys and doors."""
    own = _key_inbounds(site).map(_active(keys))
    if site.doors:
        own = sorted((*own, *_doors(site.doors, keys, site)), key=_port)
    return (*warm_inbounds(site), *own)


def inbounds_of(keys: Iterable[Key], site: ServerIdentity) -> tuple[Inbound, ...]:
    """Return the inbounds that Xray should run for some keys: those of active keys, by port."""
    return tuple(key_inbound(key, site) for key in _active(keys))


def inbounds_with(named: Collection[str], keys: Keys, site: ServerIdentity) -> tuple[Inbound, ...]:
    """Return the inbounds that Xray should run for the keys with these ids: their own, and the doors that they have."""
    own = inbounds_of(keys.among(named), site)
    doors = [door for door in site.doors if door.has_any(named)]
    return tuple(sorted((*own, *_doors(doors, keys, site)), key=_port)) if doors else own


def _doors(doors: Iterable[Door], keys: Iterable[Key], site: ServerIdentity) -> Iterator[Inbound]:
    known = Keys.of(keys)
    return (inbound for door in doors if (inbound := door_inbound(door, known, site)) is not None)


def _port(inbound: Inbound) -> int:
    return inbound.port or 0


def _active(keys: Iterable[Key]) -> list[Key]:
    # Sorted, so that the same keys always give the same config.json.
    return sorted((key for key in keys if key.status is Status.ACTIVE), key=lambda key: key.port)


@lru_cache(maxsize=16)
def _key_inbounds(site: ServerIdentity) -> Memo[Key, Inbound]:
    return Memo(lambda key: key_inbound(key, site))
