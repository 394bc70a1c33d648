"""`/api/keys`: make, list, show, change and delete keys."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, TypeAlias, Unpack

import httpx
from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, checked, one, parsed, text
from vpnkeys.client._fields import KeyFields, NewKey, NewKeyFields, span_of, to_json
from vpnkeys.client._http import header, key_path
from vpnkeys.wire.keys import Deleted, DeletedMany, Key, KeyConfig, KeyLink, KeyTest, MadeKey
from vpnkeys.wire.subscriptions import Subscription, SubscriptionMade, SubscriptionRevoked
from vpnkeys.wire.traffic import Online, Step, Traffic, TrafficHistory, TrafficReset

KeyList: TypeAlias = list[Key]  # names that `Keys.list` does not hide
MadeKeys: TypeAlias = list[MadeKey]


class KeyPage(NamedTuple):
    """Some keys, and the place after which the next page begins; "" when this is the last one."""

    keys: KeyList
    next_after: str


_KEY_LIST = TypeAdapter(KeyList)
_MADE_KEYS = TypeAdapter(MadeKeys)


def _given(**params: str | None) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


def _once(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else header("Idempotency-Key", idempotency_key)


def _page_of(response: httpx.Response) -> KeyPage:
    keys = parsed(_KEY_LIST, checked(response))
    following = response.links.get("next", {}).get("url", "")
    return KeyPage(keys, httpx.URL(following).params.get("after", ""))


class KeysRequests:
    """`/api/keys`. A key is named by its id or its UUID."""

    @Request
    def create(self, name: str, idempotency_key: str | None = None, **fields: Unpack[NewKeyFields]) -> Call[MadeKey]:
        """Make a key and return it; its link carries traffic then.

        The same `idempotency_key`, name and fields again within 24 hours give the first key once more. Raises Rejected
        for a name or a field that is none, or when what was chosen, or every port, is taken; ValueError for an
        `idempotency_key` that no header can have.
        """
        body = {"name": name, **to_json(fields)}
        return one(MadeKey, "POST", "/api/keys", json=body, headers=_once(idempotency_key))

    @Request
    def create_many(self, keys: Iterable[NewKey], idempotency_key: str | None = None) -> Call[MadeKeys]:
        """Make several keys, all of them or none, and return them; `idempotency_key` and errors are as for `create`."""
        body = {"keys": [to_json(key) for key in keys]}
        return answer(_MADE_KEYS, "POST", "/api/keys/bulk", json=body, headers=_once(idempotency_key))

    @Request
    def change(self, id_or_uuid: str, **fields: Unpack[KeyFields]) -> Call[Key]:
        """Change a key and return it as it is now; the change is in force then.

        Fields that are not given stay as they are, and so does the link unless `port` moves the key. Raises NotFound,
        or Rejected; then nothing was changed.
        """
        return one(Key, "PATCH", key_path(id_or_uuid), json=to_json(fields))

    @Request
    def rotate(
        self,
        id_or_uuid: str,
        *,
        uuid: bool = False,
        short_id: bool = False,
        sni: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[KeyConfig]:
        """Give a key what is true here anew, and return it with its new link, which works then; the old one does not.

        Port, limits and traffic stay. The same request with the same `idempotency_key` again changes nothing more.
        Raises NotFound; Rejected when nothing is true; Unavailable when there is no server name by which the new link
        would work.
        """
        body = {"uuid": uuid, "short_id": short_id, "sni": sni}
        return one(KeyConfig, "POST", key_path(id_or_uuid, "rotate"), json=body, headers=_once(idempotency_key))

    @Request
    def extend(self, ids_or_uuids: Iterable[str], days: int, idempotency_key: str | None = None) -> Call[KeyList]:
        """Let keys expire later, all of them or none, and return them; those that never expire stay so.

        The same request with the same `idempotency_key` again changes nothing more. Raises NotFound, Rejected.
        """
        body = {"ids": [*ids_or_uuids], "days": days}
        return answer(_KEY_LIST, "POST", "/api/keys/bulk/extend", json=body, headers=_once(idempotency_key))

    @Request
    def list(self, name: str | None = None, search: str | None = None, node: str | None = None) -> Call[KeyList]:
        """Return all keys, oldest first; if given, only those with exactly this name, with this text, or of this node.

        Raises NotFound when there is no such node.
        """
        return answer(_KEY_LIST, "GET", "/api/keys", params=_given(name=name, search=search, node=node))

    @Request
    def page(
        self, limit: int = 500, after: str = "", search: str | None = None, node: str | None = None
    ) -> Call[KeyPage]:
        """Return up to `limit` keys (1 to 1000), oldest first, that come after the place `after` in the list.

        With `search` or `node` only those with this text, or of this node; raises NotFound when there is no such node.
        """
        params = _given(limit=str(limit), after=after or None, search=search, node=node)
        return Call(_page_of, "GET", "/api/keys", {"params": params})

    @Request
    def get(self, id_or_uuid: str) -> Call[Key]:
        """Return the key with this id or UUID. Raises NotFound."""
        return one(Key, "GET", key_path(id_or_uuid))

    @Request
    def config(self, id_or_uuid: str) -> Call[KeyConfig]:
        """Return a key and the link for its customer. Raises NotFound."""
        return one(KeyConfig, "GET", key_path(id_or_uuid, "config"))

    @Request
    def link(self, id_or_uuid: str) -> Call[KeyLink]:
        """Return the link for a key's customer. Raises NotFound."""
        return one(KeyLink, "GET", key_path(id_or_uuid, "link"))

    @Request
    def picture(self, id_or_uuid: str) -> Call[str]:
        """Return the link as a QR code, which is an SVG. Raises NotFound."""
        return text("GET", key_path(id_or_uuid, "qr.svg"))

    @Request
    def delete(self, id_or_uuid: str) -> Call[Deleted]:
        """Delete a key; when this returns, nobody gets in with it. Raises NotFound."""
        return one(Deleted, "DELETE", key_path(id_or_uuid))

    @Request
    def delete_many(self, ids_or_uuids: Iterable[str]) -> Call[DeletedMany]:
        """Delete several keys, all of them or none, and return how many they were. Raises NotFound."""
        return one(DeletedMany, "POST", "/api/keys/bulk/delete", json={"ids": [*ids_or_uuids]})

    @Request
    def traffic(self, id_or_uuid: str) -> Call[Traffic]:
        """Return what a key has used, counted now. Raises NotFound, or Unavailable when Xray does not answer."""
        return one(Traffic, "GET", key_path(id_or_uuid, "traffic"))

    @Request
    def reset_traffic(self, id_or_uuid: str) -> Call[TrafficReset]:
        """Let a key's total start again from zero. Raises NotFound, or Unavailable when Xray does not answer."""
        return one(TrafficReset, "POST", key_path(id_or_uuid, "traffic", "reset"))

    @Request
    def history(
        self,
        id_or_uuid: str,
        since: datetime | None = None,
        until: datetime | None = None,
        step: Step = "hour",
    ) -> Call[TrafficHistory]:
        """Return what a key used by hour or day, UTC; by default of the last day, or 30 days.

        Raises NotFound, Rejected.
        """
        path = key_path(id_or_uuid, "traffic", "history")
        return one(TrafficHistory, "GET", path, params=span_of(since, until, step))

    @Request
    def online(self, id_or_uuid: str) -> Call[Online]:
        """Return whether a key's customer is online now, and from how many devices. Raises NotFound, Unavailable."""
        return one(Online, "GET", key_path(id_or_uuid, "online"))

    @Request
    def make_subscription(self, id_or_uuid: str) -> Call[SubscriptionMade]:
        """Give a key a new subscription and return its address; the one before stops working at once.

        Raises NotFound.
        """
        return one(SubscriptionMade, "POST", key_path(id_or_uuid, "subscription"))

    @Request
    def subscription(self, id_or_uuid: str) -> Call[Subscription]:
        """Return whether a key has a subscription. Raises NotFound for the key."""
        return one(Subscription, "GET", key_path(id_or_uuid, "subscription"))

    @Request
    def revoke_subscription(self, id_or_uuid: str) -> Call[SubscriptionRevoked]:
        """Take a key's subscription away, at once. Raises NotFound, also when it has none."""
        return one(SubscriptionRevoked, "DELETE", key_path(id_or_uuid, "subscription"))

    @Request
    def test_key(self, id_or_uuid: str) -> Call[KeyTest]:
        """Let a client on the server try the link and return what it found; that costs the key a few kilobytes.

        They begin the time of a key that waits for its first byte. Raises NotFound, or Unavailable when Xray does not
        answer or another key is being tested.
        """
        return one(KeyTest, "POST", key_path(id_or_uuid, "test"))


class Keys(Part, KeysRequests):
    """`/api/keys`. A key is named by its id or its UUID."""


class AsyncKeys(AsyncPart, KeysRequests):
    """`/api/keys`. A key is named by its id or its UUID."""
