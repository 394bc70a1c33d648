"""Imports another panel's customers into a data directory for which no server runs."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from random import SystemRandom

from vpnkeys.clock import SystemClock
from vpnkeys.domain.change import Intent, Snapshot, Stop
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key
from vpnkeys.domain.moving import Panel
from vpnkeys.domain.reality import KeyPair
from vpnkeys.domain.traffic import Samples
from vpnkeys.ops.base_config import base_config
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.ops.offline import offline_store
from vpnkeys.service.moving.doors import door_ports, with_doors
from vpnkeys.service.moving.importing import Here, MovePlan, carry_out, plan_move
from vpnkeys.settings import Settings
from vpnkeys.store.files.secrets import save_key_pair
from vpnkeys.store.files.snapshot import peek_doors, peek_key_pair, peek_keys
from vpnkeys.xray.config.file import ConfigFile
from vpnkeys.xray.host import ports
from vpnkeys.xray.rpc.counters import XrayCounters


def move_in(settings: Settings, panel: Panel, *, dry_run: bool, keep_old_links: bool = False) -> MovePlan:
    """Return what was imported, or with `dry_run` what would be. Planned on a copy first, so that no file changes.

    With `keep_old_links`, the panel's inbounds become doors.

    Raises SettingsError when a server runs, PortsExhausted, and other VpnKeysErrors; then nothing was written.
    """
    kept = door_ports(panel.customers) if keep_old_links else frozenset[int]()
    with _free_ports(settings, kept) as is_free:
        here = Here(settings.port_range, settings.reality_server_names, peek_key_pair(settings.data_dir))
        keys = peek_keys(settings.database_url)
        plan = plan_move(panel, _seen(keys, is_free), here)
        if keep_old_links:
            plan = with_doors(plan, keys, peek_doors(settings.database_url), ports.has_address)
        if dry_run or not plan:
            return plan
        with offline_store(settings) as store, store.write() as transaction:
            # Again, now that the data are locked: the copy may be outdated.
            here = Here(settings.port_range, here.server_names, peek_key_pair(settings.data_dir), _counters(settings))
            seen = _seen(transaction.keys(), is_free, transaction.intents(), store.stops())
            plan = plan_move(panel, seen, here)
            if keep_old_links:
                plan = with_doors(plan, seen.keys, store.doors(), ports.has_address)
            carry_out(plan, transaction, seen.now, lambda pair: save_key_pair(settings.data_dir, pair))
        return plan


def site_of_links(settings: Settings, pair: KeyPair) -> ServerIdentity:
    """Return what links need of this server."""
    return ServerIdentity(
        listen=settings.inbound_listen,
        private_key=pair.private_key,
        socket_dir="",
        server_names=settings.reality_server_names,
        server_address=settings.server_address,
        public_key=pair.public_key,
        fingerprint=settings.utls_fingerprint,
    )


def _seen(
    keys: tuple[Key, ...],
    is_free: Callable[[int], bool],
    intents: tuple[Intent, ...] = (),
    stops: tuple[Stop, ...] = (),
) -> Snapshot:
    return Snapshot(
        keys=keys,
        intents=intents,
        stops=stops,
        now=SystemClock().now(),
        used_bytes=lambda _since: {},
        is_free=is_free,
        chance=SystemRandom(),
    )


@contextmanager
def _free_ports(settings: Settings, kept: Collection[int]) -> Iterator[Callable[[int], bool]]:
    """Yield what says whether a port is free: of programs, other servers, the operator's inbounds and doors."""
    claims = ports.PortClaims()
    file = ConfigFile(settings.data_dir / "config.json", base_config(settings, None), lambda _path: None)
    reserved = file.reserved()
    try:
        yield lambda port: port not in reserved and port not in kept and claims.is_free(port) and ports.is_free(port)
    finally:
        claims.close()


def _counters(settings: Settings) -> Samples | None:
    """Return the counters of an Xray that runs on without the server: it may have some of deleted keys."""
    counters = XrayCounters(api_socket(settings))
    try:
        with suppress(XrayUnavailable):
            return counters.sample()
        return None
    finally:
        counters.close()
