"""Declares the protocols between the rooms; a real, a remote and a fake implementation can each take the place."""

from vpnkeys.interfaces.clock import Clock
from vpnkeys.interfaces.journal import HeldStops, Holds, NoJournal, StopJournal
from vpnkeys.interfaces.leases import Holder, Leases
from vpnkeys.interfaces.ledger import Ledger
from vpnkeys.interfaces.node import Counters, Host, Node
from vpnkeys.interfaces.nodes import ForNodes, NodeBook
from vpnkeys.interfaces.outbox import Outbox
from vpnkeys.interfaces.store import BRIEFLY_S, PATIENCE_S, Store
from vpnkeys.interfaces.transaction import Transaction

__all__ = [
    "BRIEFLY_S",
    "PATIENCE_S",
    "Clock",
    "Counters",
    "ForNodes",
    "HeldStops",
    "Holder",
    "Holds",
    "Host",
    "Leases",
    "Ledger",
    "NoJournal",
    "Node",
    "NodeBook",
    "Outbox",
    "StopJournal",
    "Store",
    "Transaction",
]
