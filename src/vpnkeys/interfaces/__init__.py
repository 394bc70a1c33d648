"""The promises between the rooms: whatever keeps them can stand in (the real thing, a remote one, a fake)."""

from vpnkeys.interfaces.clock import Clock
from vpnkeys.interfaces.node import Counters, Host, Node
from vpnkeys.interfaces.store import Ledger, Outbox, Store, Transaction

__all__ = ["Clock", "Counters", "Host", "Ledger", "Node", "Outbox", "Store", "Transaction"]
