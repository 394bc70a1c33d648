"""Decides what a new key gets: what the caller chose, if this server has it to give, and else what is free."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from vpnkeys.domain.change import KeyChanges, Snapshot
from vpnkeys.domain.errors import AlreadyTaken, InvalidChoice, TargetsUnready
from vpnkeys.domain.key import Key, Taken
from vpnkeys.domain.making.draft import Choices, Draft
from vpnkeys.domain.reality import new_short_id, pad_short_id
from vpnkeys.domain.traffic import Samples


@dataclass(frozen=True, slots=True)
class Supply:
    """Holds what this server has for new keys: its server names, of which some are ready now.

    `samples` are the counters of the running Xray, where a UUID was chosen that may be among them.
    """

    names: tuple[str, ...]
    ready: Collection[str]
    samples: Samples | None = None


def made(seen: Snapshot, drafts: Sequence[Draft], ports: Sequence[int], supply: Supply) -> KeyChanges:
    """Return the changes that make a key for each draft, none with the UUID or short id of another.

    `ports` are free ports, one for each. Raises InvalidChoice, AlreadyTaken, TargetsUnready.
    """
    maker = _Maker(seen, supply)
    # First all that was chosen, so that no key before it in the request is given the same by chance.
    for draft in drafts:
        maker.reserve(draft.choices)
    keys = tuple(
        maker.make(number, draft, port) for number, (draft, port) in enumerate(zip(drafts, ports, strict=True))
    )
    return KeyChanges(insert=seen.under_limits(keys), counted=_left_of(keys, supply.samples))


@dataclass(slots=True)
class _Maker:
    """Keeps what is taken while the keys of one request are made."""

    seen: Snapshot
    supply: Supply
    _names: Taken = field(init=False)
    _short_ids: Taken = field(init=False)

    def __post_init__(self) -> None:
        self._names, self._short_ids = self.seen.taken_names, self.seen.taken_short_ids

    def reserve(self, chosen: Choices) -> None:
        """Take what was chosen. Raises what `made` raises."""
        if chosen.uuid is not None:
            _take(self._names, chosen.uuid, f"uuid {chosen.uuid}")
        if chosen.short_id is not None:
            _take(self._short_ids, pad_short_id(chosen.short_id), f"short_id {chosen.short_id}")
        if chosen.sni is not None:
            self._require_ready(chosen.sni)

    def make(self, number: int, draft: Draft, port: int) -> Key:
        """Return the key of a draft whose choices are reserved."""
        seen, chosen = self.seen, draft.choices
        return Key(
            id=self._free_uuid(),
            name=draft.name,
            uuid=chosen.uuid or self._free_uuid(),
            # A microsecond apart, so that keys of one request are listed in the order in which they were asked for.
            created_at=seen.now + timedelta(microseconds=number),
            is_active=draft.is_active,
            port=port,
            short_id=pad_short_id(chosen.short_id) if chosen.short_id else self._free_short_id(),
            # Sorted, because a set has another order in each process: a test with a seeded chance repeats.
            sni=chosen.sni or seen.chance.choice(sorted(self.supply.ready)),
            note=draft.note,
            limits=draft.limits,
            fingerprint=draft.fingerprint,
            node=seen.node,
        )

    def _free_uuid(self) -> str:
        self._names.others.add(new := self.seen.new_uuid(self._names))
        return new

    def _free_short_id(self) -> str:
        self._short_ids.others.add(short_id := new_short_id(self.seen.chance, self._short_ids))
        return short_id

    def _require_ready(self, name: str) -> None:
        if name not in self.supply.names:
            names = ", ".join(self.supply.names)
            msg = f"sni: this server has no such name; it has {names} (VPNKEYS_REALITY_SERVER_NAMES)."
            raise InvalidChoice(msg)
        if name not in self.supply.ready:
            msg = f"No client gets through by {name} now; choose another sni, or try again when its target works."
            raise TargetsUnready(msg)


def _left_of(keys: Iterable[Key], samples: Samples | None) -> Samples | None:
    """Return the counters that deleted keys of the same UUIDs left in Xray, which forgets them only when it ends."""
    if samples is None:
        return None
    left = {key.uuid: samples.usage[key.uuid] for key in keys if key.uuid in samples.usage}
    return replace(samples, usage=left) if left else None


def _take(taken: Taken, value: str, what: str) -> None:
    if value in taken:
        msg = f"{what} belongs to another key; choose another, or leave it out."
        raise AlreadyTaken(msg)
    taken.others.add(value)
