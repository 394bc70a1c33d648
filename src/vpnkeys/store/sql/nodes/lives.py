"""Stores the lives of nodes' Xrays (epochs): how long each went on, and all that its samples have added."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Connection, bindparam, case, cast, func, insert, select, update

from vpnkeys.domain.traffic import Bytes, Gap, Samples, Tally
from vpnkeys.store.sql.tables import epochs

# They are made once, and have parameters: to make a statement takes longer than to carry it out.
_OF_NODE, _IS_LIFE = epochs.c.node_id == bindparam("of_node"), epochs.c.epoch == bindparam("of_epoch")
_LIFE = select(epochs.c.ended_at, epochs.c.ended_cleanly, epochs.c.last_sample_at).where(_OF_NODE, _IS_LIFE)
_NEW_LIFE = insert(epochs)
_LIFE_GOES_ON = (
    update(epochs)
    .where(_OF_NODE, _IS_LIFE)
    .values(
        ended_at=bindparam("its_end"),
        ended_cleanly=bindparam("in_order"),
        last_sample_at=bindparam("seen_at"),
        up_bytes=epochs.c.up_bytes + bindparam("more_up", type_=BigInteger),
        down_bytes=epochs.c.down_bytes + bindparam("more_down", type_=BigInteger),
    )
)
_LIFE_ENDS = update(epochs).where(_OF_NODE, _IS_LIFE).values(ended_at=bindparam("its_end"), ended_cleanly=True)
_IS_OLDER = _OF_NODE & ~_IS_LIFE & epochs.c.ended_at.is_(None) & (epochs.c.last_sample_at < bindparam("before"))
_OLDER = select(epochs.c.last_sample_at).where(_IS_OLDER)
_OLDER_END = update(epochs).where(_IS_OLDER).values(ended_at=bindparam("its_end"), ended_cleanly=False)
_BY_NODE = select(
    epochs.c.node_id,
    *(cast(func.sum(column), BigInteger) for column in (epochs.c.up_bytes, epochs.c.down_bytes)),
    func.sum(case((epochs.c.ended_at.is_not(None) & epochs.c.ended_cleanly.is_(False), 1), else_=0)),
    func.max(epochs.c.last_sample_at),
).group_by(epochs.c.node_id)
_ANY_TIME: Final = datetime(9999, 12, 31)  # noqa: DTZ001 - times in the database are UTC without an offset


def note(connection: Connection, samples: Samples, at: datetime, more: Bytes) -> list[Gap]:
    """Store that an epoch was seen at this time, and `more` bytes of it; return the gaps of others that ended by then.

    A late sample of an earlier epoch may have been merged in between and have ended this one; then it is open again. An
    epoch that we ended ourselves may still answer for a moment: it is open again only when it goes on counting.
    """
    life: dict[str, object] = {"of_node": samples.node_id, "of_epoch": samples.epoch}
    known = connection.execute(_LIFE, life).first()
    if known is None:
        named = {"node_id": samples.node_id, "epoch": samples.epoch, "up_bytes": more.up, "down_bytes": more.down}
        connection.execute(_NEW_LIFE, named | {"first_sample_at": at, "last_sample_at": at})
        return _ended(connection, samples, _ANY_TIME, at)
    ended_at, cleanly, last = known
    is_over = ended_at is not None and (at <= ended_at or (cleanly and not more.total))
    seen = (ended_at, cleanly, max(last, at)) if is_over else (None, None, at)
    ends = dict(zip(("its_end", "in_order", "seen_at"), seen, strict=True))
    connection.execute(_LIFE_GOES_ON, life | ends | {"more_up": more.up, "more_down": more.down})
    return [] if is_over else _ended(connection, samples, at, at)


def _ended(connection: Connection, samples: Samples, before: datetime, at: datetime) -> list[Gap]:
    """Store that other epochs, last seen before then, have ended without a last sample; return the gaps."""
    older: dict[str, object] = {"of_node": samples.node_id, "of_epoch": samples.epoch, "before": before}
    gaps = [Gap(last, at) for last in connection.scalars(_OLDER, older)]
    if gaps:
        connection.execute(_OLDER_END, older | {"its_end": at})
    return gaps


def end(connection: Connection, node_id: int, epoch: str, at: datetime) -> None:
    """Store that an epoch ended in order, after its last sample."""
    connection.execute(_LIFE_ENDS, {"of_node": node_id, "of_epoch": epoch, "its_end": at})


def tally(connection: Connection) -> Tally:
    """Return the bytes ever merged on each node, the number of gaps, and the time of the last sample."""
    rows = connection.execute(_BY_NODE).all()
    return Tally(
        by_node={node_id: Bytes(up, down) for node_id, up, down, _, _ in rows},
        gaps=sum(gaps for *_, gaps, _ in rows),
        sampled_at=max((sampled_at for *_, sampled_at in rows), default=None),
    )
