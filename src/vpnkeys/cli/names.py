"""Finds the keys that a person names: by port, or by id, UUID or name, or a beginning of these that one key has."""

import re
from collections.abc import Iterable, Sequence

from vpnkeys.client import Client, Key, NotFound, Rejected

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORTEST = 8


class SeveralKeys(Rejected):
    """Several keys have what was given; `keys` are those."""

    def __init__(self, wanted: str, keys: Sequence[Key]) -> None:
        detail = f"{len(keys)} keys match {wanted!r}, and nothing was done; give more of the name, or the id."
        super().__init__(None, "several_keys", detail)
        self.keys = keys


def id_of(server: Client, wanted: str) -> str:
    """Return the id of the key that is meant. Raises SeveralKeys, NotFound, and what every request raises."""
    return ids_of(server, [wanted])[0]


def ids_of(server: Client, wanted: Sequence[str]) -> list[str]:
    """Return the ids of the keys that are meant, as `id_of` does, with one request."""
    # A name may look like a UUID. For one key it is enough to ask for that name, and not for all keys.
    if len(wanted) == 1 and _UUID.fullmatch(wanted[0]) and not server.keys.list(wanted[0]):
        return list(wanted)
    keys = server.keys.list()
    return [_one_of(keys, one) for one in wanted]


def subject_of(server: Client, wanted: str) -> str:
    """Return the id of the key that is meant, else the text itself: a token, or a key that is gone.

    Raises SeveralKeys, and what every request raises.
    """
    try:
        return id_of(server, wanted)
    except NotFound:
        return wanted


def _one_of(keys: Sequence[Key], wanted: str) -> str:
    found = matching(keys, wanted)
    if len(found) > 1:
        raise SeveralKeys(wanted, found)
    if found:
        return found[0].id
    if _UUID.fullmatch(wanted):
        return wanted  # the server also knows keys whose removal it has yet to confirm
    detail = (
        f"No key has the id, UUID, name or port {wanted!r}, or an id, UUID or name that begins so; "
        "`vpnkeys keys list` lists all."
    )
    raise NotFound(None, "key_not_found", detail)


def matching(keys: Iterable[Key], wanted: str) -> list[Key]:
    """Return the keys with this id, UUID, name or port; where there is none, those whose id, UUID or name begins so.

    A whole UUID is no beginning: a key whose name goes on after it is another one.
    """
    keys, small = list(keys), wanted.casefold()
    exact = [key for key in keys if wanted in {key.id, key.uuid, key.name, str(key.port)} or small == key.uuid.lower()]
    if exact or not wanted or _UUID.fullmatch(wanted):
        return exact
    return [key for key in keys if any(text.casefold().startswith(small) for text in (key.id, key.uuid, key.name))]


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return the beginning of each id that no other one has, all of one length, 8 characters at least."""
    longest = max(map(len, ids), default=0)
    for length in range(_SHORTEST, longest):
        if len({one[:length] for one in ids}) == len(ids):
            return [one[:length] for one in ids]
    return list(ids)
