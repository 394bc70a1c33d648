"""Writes changes of keys in a write transaction."""

from vpnkeys.domain.change import ANSWERS_KEPT_FOR, KeyChanges, Stop
from vpnkeys.interfaces import Transaction


def write_keys(transaction: Transaction, changes: KeyChanges) -> None:
    """Write changes of keys: deletions first, because ports are unique and a new key may get one of theirs."""
    for key_id in changes.delete:
        transaction.delete(key_id)
    if changes.update:
        transaction.update(*changes.update)
    for key in changes.insert:
        transaction.insert(key)
    if changes.answer is not None:
        # Old answers are deleted by the next one that is stored, so that no job has to do it.
        transaction.forget(before=changes.answer.at - ANSWERS_KEPT_FOR)
        transaction.remember(changes.answer)


def take_back_intents(transaction: Transaction) -> None:
    """Turn intents into stops: the node may have let clients in. An intent of a key that works is only dropped."""
    intents = transaction.intents()
    if not intents:
        return
    serving = {key.id for key in transaction.keys() if key.serves}  # noqa: SIM118 - not a dict
    transaction.drop_intents()
    transaction.put_stops(Stop.of(intent) for intent in intents if intent.key_id not in serving)
