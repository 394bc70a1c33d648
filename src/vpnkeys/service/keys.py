"""Make, find, show and remove keys.

A key exists from the commit of its row, which comes last: after Xray and config.json have it. So nobody ever sees a key
that does not work, and whatever goes wrong before is put right by the ordinary repair.
"""

import logging
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from vpnkeys.domain.errors import KeyNotFound, TargetsUnready
from vpnkeys.domain.inbound import key_inbound
from vpnkeys.domain.key import Key, parse_name
from vpnkeys.domain.link import render_link
from vpnkeys.domain.plan import Plan
from vpnkeys.domain.portpool import PortRange, lowest_free
from vpnkeys.domain.reality import new_short_id
from vpnkeys.interfaces import Clock, Transaction
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.reconcile import Reconciler

_log = logging.getLogger(__name__)

_WAIT_FOR_NAMES_S = 7.0
"""A little more than the five seconds that a probe of Xray takes at most."""


@dataclass(frozen=True, slots=True)
class KeyService:
    """The use cases about keys."""

    reconciler: Reconciler
    clock: Clock
    pool: PortRange

    def list(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self.reconciler.store.keys()

    def get(self, id_or_uuid: str) -> Key:
        """The key with this id or UUID. Raises KeyNotFound."""
        for key in self.list():
            if id_or_uuid in (key.id, key.uuid):
                return key
        msg = "There is no key with this id or UUID; GET /api/keys lists those that are."
        raise KeyNotFound(msg)

    def link(self, key: Key) -> str:
        """The link that the customer puts into a client."""
        return render_link(key, self.reconciler.site.server_address, self.reconciler.site.public_key)

    def create(self, raw_name: str, idempotency_key: str | None = None) -> Key:
        """Make a key; when this returns, its link carries traffic.

        With an idempotency key, the same request again within 24 hours gives the first key and makes none.

        Raises InvalidName, PortsExhausted, TargetsUnready, or another Unavailable after everything was taken back.
        """
        name = parse_name(raw_name)
        names = self._names_to_hand_out()
        reconciler = self.reconciler
        with reconciler.changing, reconciler.or_repair(), reconciler.store.write() as transaction:
            make = partial(self._make, name, names, transaction)
            if idempotency_key is None:
                return make()
            return Repeat.of(idempotency_key, {"name": name}).once(transaction, self.clock.now(), make)

    def _make(self, name: str, server_names: Collection[str], transaction: Transaction) -> Key:
        reconciler = self.reconciler
        key = self._new_key(name, server_names, transaction.keys())
        transaction.insert(key)
        inbound = key_inbound(key, reconciler.site)
        reconciler.node.apply(Plan(file=reconciler.desired(transaction.keys()), add=(inbound,)))
        _log.info("key %s made on port %d", key.id, key.port)
        return key

    def delete(self, id_or_uuid: str) -> Key:
        """Remove a key; when this returns, nobody gets in with it and its open connections are cut.

        Raises KeyNotFound, or Unavailable after everything was put back.
        """
        reconciler = self.reconciler
        with reconciler.changing, reconciler.or_repair(), reconciler.store.write() as transaction:
            key = self.get(id_or_uuid)
            transaction.delete(key.id)
            reconciler.node.apply(Plan(file=reconciler.desired(transaction.keys()), remove=(key.tag,), cut=(key.port,)))
        _log.info("key %s removed, port %d is free", key.id, key.port)
        return key

    def _names_to_hand_out(self) -> Collection[str]:
        names = self.reconciler.node.ready_names(wait_s=_WAIT_FOR_NAMES_S)
        if not names:
            msg = (
                "No configured server name works yet: no client gets through to any target. After a start, try again "
                "in a few seconds; else check VPNKEYS_REALITY_SERVER_NAMES and that this server reaches them."
            )
            raise TargetsUnready(msg)
        return names

    def _new_key(self, name: str, server_names: Collection[str], others: Collection[Key]) -> Key:
        return Key(
            id=str(uuid.uuid4()),
            name=name,
            uuid=str(uuid.uuid4()),
            created_at=self.clock.now(),
            is_active=True,
            port=lowest_free(self.pool, {key.port for key in others}, self.reconciler.node.is_free),
            short_id=_unique_short_id({key.short_id for key in others}),
            sni=secrets.choice(sorted(server_names)),
        )


def _unique_short_id(taken: Collection[str]) -> str:
    while (short_id := new_short_id()) in taken:
        pass
    return short_id
