"""`/api/keys`: make, list, show, change and delete keys."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias, Unpack

from pydantic import TypeAdapter

from vpnkeys.client._fields import KeyFields, NewKey, NewKeyFields, span_of, to_json
from vpnkeys.client._http import Http, key_path
from vpnkeys.wire.keys import Deleted, DeletedMany, Key, KeyConfig, KeyLink, KeyTest, MadeKey
from vpnkeys.wire.subscriptions import Subscription, SubscriptionMade, SubscriptionRevoked
from vpnkeys.wire.traffic import Online, Step, Traffic, TrafficHistory, TrafficReset

KeyList: TypeAlias = list[Key]  # names that `Keys.list` does not hide
MadeKeys: TypeAlias = list[MadeKey]

_KEY_LIST = TypeAdapter(KeyList)
_MADE_KEYS = TypeAdapter(MadeKeys)


class Keys:
    """`/api/keys`. A key is named by its id or its UUID."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, name: str, idempotency_key: str | None = None, **fields: Unpack[NewKeyFields]) -> MadeKey:
        """Make a key and return it; its link carries traffic then.

        The same `idempotency_key`, name and fields again within 24 hours give the first key once more. Raises Rejected
        for a name or a field that is none, or when what was chosen, or every port, is taken.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        return self._http.one(MadeKey, "POST", "/api/keys", json={"name": name, **to_json(fields)}, headers=headers)

    def create_many(self, keys: Iterable[NewKey]) -> MadeKeys:
        """Make several keys, all of them or none, and return them. Raises what `create` raises."""
        return self._http.answer(_MADE_KEYS, "POST", "/api/keys/bulk", json={"keys": [to_json(key) for key in keys]})

    def change(self, id_or_uuid: str, **fields: Unpack[KeyFields]) -> Key:
        """Change a key and return it as it is now; the change is in force then.

        Fields that are not given stay as they are, and so does the link unless `port` moves the key. Raises NotFound,
        or Rejected; then nothing was changed.
        """
        return self._http.one(Key, "PATCH", key_path(id_or_uuid), json=to_json(fields))

    def rotate(self, id_or_uuid: str, *, uuid: bool = False, short_id: bool = False, sni: bool = False) -> KeyConfig:
        """Give a key what is true here anew, and return it with its new link, which works then; the old one does not.

        Port, limits and traffic stay. Raises NotFound; Rejected when nothing is true; Unavailable when there is no
        server name by which the new link would work.
        """
        body = {"uuid": uuid, "short_id": short_id, "sni": sni}
        return self._http.one(KeyConfig, "POST", key_path(id_or_uuid, "rotate"), json=body)

    def extend(self, ids_or_uuids: Iterable[str], days: int) -> KeyList:
        """Let keys expire later, all of them or none, and return them; those that never expire stay so.

        Raises NotFound, Rejected.
        """
        body = {"ids": [*ids_or_uuids], "days": days}
        return self._http.answer(_KEY_LIST, "POST", "/api/keys/bulk/extend", json=body)

    def list(self, name: str | None = None) -> KeyList:
        """Return all keys, oldest first; only those with exactly this name if one is given."""
        return self._http.answer(_KEY_LIST, "GET", "/api/keys", params={} if name is None else {"name": name})

    def get(self, id_or_uuid: str) -> Key:
        """Return the key with this id or UUID. Raises NotFound."""
        return self._http.one(Key, "GET", key_path(id_or_uuid))

    def config(self, id_or_uuid: str) -> KeyConfig:
        """Return a key and the link for its customer. Raises NotFound."""
        return self._http.one(KeyConfig, "GET", key_path(id_or_uuid, "config"))

    def link(self, id_or_uuid: str) -> KeyLink:
        """Return the link for a key's customer. Raises NotFound."""
        return self._http.one(KeyLink, "GET", key_path(id_or_uuid, "link"))

    def picture(self, id_or_uuid: str) -> str:
        """Return the link as a QR code, which is an SVG. Raises NotFound."""
        return self._http.text("GET", key_path(id_or_uuid, "qr.svg"))

    def delete(self, id_or_uuid: str) -> Deleted:
        """Delete a key; when this returns, nobody gets in with it. Raises NotFound."""
        return self._http.one(Deleted, "DELETE", key_path(id_or_uuid))

    def delete_many(self, ids_or_uuids: Iterable[str]) -> DeletedMany:
        """Delete several keys, all of them or none, and return how many they were. Raises NotFound."""
        return self._http.one(DeletedMany, "POST", "/api/keys/bulk/delete", json={"ids": [*ids_or_uuids]})

    def traffic(self, id_or_uuid: str) -> Traffic:
        """Return what a key has used, counted now. Raises NotFound, or Unavailable when Xray does not answer."""
        return self._http.one(Traffic, "GET", key_path(id_or_uuid, "traffic"))

    def reset_traffic(self, id_or_uuid: str) -> TrafficReset:
        """Let a key's total start again from zero. Raises NotFound, or Unavailable when Xray does not answer."""
        return self._http.one(TrafficReset, "POST", key_path(id_or_uuid, "traffic", "reset"))

    def history(
        self,
        id_or_uuid: str,
        since: datetime | None = None,
        until: datetime | None = None,
        step: Step = "hour",
    ) -> TrafficHistory:
        """Return what a key used by hour or day, UTC; by default of the last day, or 30 days.

        Raises NotFound, Rejected.
        """
        path = key_path(id_or_uuid, "traffic", "history")
        return self._http.one(TrafficHistory, "GET", path, params=span_of(since, until, step))

    def online(self, id_or_uuid: str) -> Online:
        """Return whether a key's customer is online now, and from how many devices. Raises NotFound, Unavailable."""
        return self._http.one(Online, "GET", key_path(id_or_uuid, "online"))

    def make_subscription(self, id_or_uuid: str) -> SubscriptionMade:
        """Give a key a new subscription and return its address; the one before stops working at once.

        Raises NotFound.
        """
        return self._http.one(SubscriptionMade, "POST", key_path(id_or_uuid, "subscription"))

    def subscription(self, id_or_uuid: str) -> Subscription:
        """Return whether a key has a subscription. Raises NotFound for the key."""
        return self._http.one(Subscription, "GET", key_path(id_or_uuid, "subscription"))

    def revoke_subscription(self, id_or_uuid: str) -> SubscriptionRevoked:
        """Take a key's subscription away, at once. Raises NotFound, also when it has none."""
        return self._http.one(SubscriptionRevoked, "DELETE", key_path(id_or_uuid, "subscription"))

    def test_key(self, id_or_uuid: str) -> KeyTest:
        """Let a client on the server try the link and return what it found; that costs the key a few kilobytes.

        Raises NotFound, or Unavailable when Xray does not answer or another key is being tested.
        """
        return self._http.one(KeyTest, "POST", key_path(id_or_uuid, "test"))
