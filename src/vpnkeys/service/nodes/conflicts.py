"""Refuses a change of a node's keys that meets another one, of any control plane on the database."""

from collections.abc import Iterable
from typing import Final

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, KeptAnswer, Snapshot
from vpnkeys.domain.errors import KeysChangedMeanwhile
from vpnkeys.domain.key import Key, Keys
from vpnkeys.interfaces import Transaction

MEANWHILE: Final = "Another change of keys is under way on this node. Nothing was changed; try again."


def refuse_conflict(transaction: Transaction, node_id: int, keys: Iterable[Key], decided: Snapshot | None) -> set[str]:
    """Raise KeysChangedMeanwhile when another process has changed what a decision was made on.

    Returns those of the keys that are being placed on another node, as when they move: the later change goes on.
    """
    placings = transaction.nodes.placings()
    placed = {one.key.id for one in placings if one.key.node.id == node_id}
    is_other = decided is not None and (
        Keys.of(transaction.keys()).on(node_id) != decided.keys
        or placed.difference(intent.key_id for intent in decided.intents)
    )
    ids = {key.id for key in keys}
    if is_other or placed & ids:
        raise KeysChangedMeanwhile(MEANWHILE)
    return {one.key.id for one in placings} & ids


def refuse_known(transaction: Transaction, answer: KeptAnswer | None) -> None:
    """Raise KeysChangedMeanwhile when the request was answered, or is carried out, by another control plane."""
    if answer is not None and transaction.nodes.is_known(answer.key_hash, answer.at - ANSWERS_KEPT_FOR):
        raise KeysChangedMeanwhile(MEANWHILE)
