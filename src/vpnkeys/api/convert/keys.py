"""Converts keys to answers, and request bodies to what the use cases take."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from vpnkeys.domain.errors import InvalidChoice, InvalidFingerprint
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Window, WindowUsage
from vpnkeys.domain.making import Draft, parse_choices
from vpnkeys.domain.naming import parse_name, parse_note
from vpnkeys.domain.nodes import ANY_NODE, NodeWish
from vpnkeys.domain.reality import Fingerprint, parse_fingerprint
from vpnkeys.wire import keys as wire


def key_answer(key: Key, usage: WindowUsage) -> wire.Key:
    """Return a key as the API shows it."""
    limits = key.limits
    return wire.Key(
        id=key.id,
        name=key.name,
        uuid=key.uuid,
        created_at=key.created_at,
        is_active=key.is_active,
        port=key.port,
        short_id=key.short_id,
        sni=key.sni,
        status=str(key.status),  # plain strings: pydantic takes a quarter of the whole time to convert an enum
        note=key.note,
        expires_at=limits.expires_at,
        traffic_limit_bytes=limits.traffic_bytes,
        traffic_limit_window=str(limits.traffic_window),
        max_devices=limits.max_devices,
        speed_limit_mbps=limits.speed_mbps,
        fingerprint=None if key.fingerprint is None else key.fingerprint.value,
        expires_after_s=limits.expires_after_s,
        node=key.node.name,
        used_in_window_bytes=usage.used_bytes,
        remaining_bytes=usage.remaining_bytes,
        resets_at=usage.resets_at,
    )


def made_answer(key: Key, asked: wire.NewKey, now: datetime) -> wire.MadeKey:
    """Return a key that was made for this request: nothing is used of it yet, also when the request is repeated."""
    usage = WindowUsage.of(key.limits.traffic_bytes, key.limits.traffic_window, 0, now)
    return wire.MadeKey(**vars(key_answer(key, usage)), ignored_fields=asked.ignored_fields)


def draft_of(new: wire.NewKey) -> Draft:
    """Return the key to be made, its texts parsed.

    Raises InvalidName, InvalidNote, InvalidFingerprint, InvalidChoice.
    """
    return Draft(
        parse_name(new.name),
        parse_note(new.note),
        _limits_of(new),
        new.is_active,
        None if new.fingerprint is None else _fingerprint_of(new.fingerprint),
        parse_choices(new.uuid, new.short_id, new.sni, new.port),
    )


def wish_of(new: wire.NewKey) -> NodeWish:
    """Return where a new key should be."""
    return NodeWish(None if new.node is None else str(new.node), new.group)


def one_wish(new: Iterable[wire.NewKey]) -> NodeWish:
    """Return where all of these new keys should be: those that say nothing, with the others.

    Raises InvalidChoice when they should be in several places.
    """
    wishes = {wish_of(one) for one in new} - {ANY_NODE}
    if len(wishes) > 1:
        msg = "node: the keys of one request are made on one node, all or none; send a request for each node."
        raise InvalidChoice(msg)
    return wishes.pop() if wishes else ANY_NODE


def changed_draft(change: wire.KeyChange, key: Key) -> Draft:
    """Return the key with a change applied; fields that were not sent stay.

    Raises InvalidName, InvalidNote, InvalidFingerprint.
    """
    limits = key.limits
    now: dict[str, Any] = {
        "name": key.name,
        "note": key.note,
        "is_active": key.is_active,
        "expires_at": limits.expires_at,
        "expires_after_s": limits.expires_after_s,
        "traffic_limit_bytes": limits.traffic_bytes,
        "traffic_limit_window": limits.traffic_window,
        "max_devices": limits.max_devices,
        "speed_limit_mbps": limits.speed_mbps,
        "fingerprint": key.fingerprint,
        "port": None,
    }
    # Only fields that were sent: a `null` that was sent lifts a limit, one that was not sent does not.
    given = {name: getattr(change, name) for name in change.model_fields_set}
    # One end replaces the other.
    if "expires_at" in given:
        now["expires_after_s"] = None
    elif "expires_after_s" in given and (given["expires_after_s"] is not None or limits.is_waiting):
        now["expires_at"] = None
    # Without validation: both halves have been validated, one by its route and one when the key was made.
    return draft_of(wire.NewKey.model_construct(**{**now, **given}))


def _limits_of(settings: wire.KeySettings) -> Limits:
    return Limits(
        expires_at=settings.expires_at,
        traffic_bytes=settings.traffic_limit_bytes,
        traffic_window=Window(settings.traffic_limit_window),
        max_devices=settings.max_devices,
        speed_mbps=settings.speed_limit_mbps,
        expires_after_s=settings.expires_after_s,
    )


def _fingerprint_of(text: str) -> Fingerprint:
    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise InvalidFingerprint(str(error)) from error
