"""Declares the protocols between the rooms; a real, a remote and a fake implementation can each take the place."""

from vpnkeys.interfaces.clock import Clock
from vpnkeys.interfaces.node import Counters, Host, Node
from vpnkeys.interfaces.store import BRIEFLY_S, PATIENCE_S, Ledger, Outbox, Store, Transaction

__all__ = [
    "BRIEFLY_S",
    "PATIENCE_S",
    "Clock",
    "Counters",
    "Host",
    "Ledger",
    "Node",
    "Outbox",
    "Store",
    "Transaction",
]
