"""What is imported from another panel, as its reader found it."""

from dataclasses import dataclass
from datetime import datetime

from vpnkeys.domain.flow import Flow
from vpnkeys.domain.limits import Limits
from vpnkeys.domain.reality import KeyPair


@dataclass(frozen=True, slots=True)
class SharedInbound:
    """A VLESS + REALITY inbound of another panel: all its customers share its port, key pair and short ids.

    `host` is the one that its links name, "" where the panel does not store it. Without `is_tcp` it has a transport
    that keys do not have here. Customers dial `link_port` where it is not None: a proxy has it, which
    forwards to the inbound. `short_ids` and `server_names` are those that can be used here.
    `listen`, `target` and `door_short_ids` are what a door has; `no_door` says why there can be none.
    """

    tag: str
    port: int
    key_pair: KeyPair
    short_ids: tuple[str, ...]
    server_names: tuple[str, ...]
    host: str = ""
    is_tcp: bool = True
    fingerprint: str = ""
    listen: str = ""
    target: str = ""
    door_short_ids: tuple[str, ...] = ()
    no_door: str = ""
    link_port: int | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer of another panel, who gets a key. `name` and `note` have been parsed.

    `used_bytes` count towards the limit. `inbound` is None where the panel's file does not say which one it is;
    `others` are further ones, with the customer's flow there. A flow is None where Xray has no such flow any more.
    """

    name: str
    uuid: str
    used_bytes: int
    note: str = ""
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    is_active: bool = True
    created_at: datetime | None = None
    inbound: SharedInbound | None = None
    flow: Flow | None = Flow.NONE
    others: tuple[tuple[SharedInbound, Flow | None], ...] = ()

    @property
    def inbounds(self) -> tuple[tuple[SharedInbound, Flow | None], ...]:
        """All inbounds that let the customer in, each with the flow that he has there."""
        return self.others if self.inbound is None else ((self.inbound, self.flow), *self.others)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A customer or an inbound that is not imported, and why: `why` is a sentence without its end."""

    what: str
    why: str
    used_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """Another panel: `customers` get keys, `left_out` are all others. `notes` say what changes for keys."""

    name: str
    customers: tuple[Customer, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def used_bytes(self) -> int:
        """What all have used together, imported or not."""
        return sum(one.used_bytes for one in self.customers) + sum(one.used_bytes for one in self.left_out)
