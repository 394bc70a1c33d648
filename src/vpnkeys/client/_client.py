"""The client."""

import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias, Unpack

import httpx
from pydantic import TypeAdapter

from vpnkeys.client._errors import error_of
from vpnkeys.client._fields import KeyFields, KeyLimits, NewKey, in_utc, to_json
from vpnkeys.client._http import Http, is_loopback, json_of, key_path, parsed
from vpnkeys.client._models import (
    DeletedMany,
    Done,
    Health,
    Info,
    Key,
    KeyConfig,
    Online,
    Traffic,
    TrafficHistory,
    TrafficReset,
)
from vpnkeys.client._system_models import (
    ConfigStatus,
    Ports,
    PortsReset,
    PortsStatus,
    RealityVerified,
    Synced,
    XrayConfigStatus,
    XrayInbounds,
    XraySynced,
    XrayValidated,
)
from vpnkeys.client._tls import context_for

KeyList: TypeAlias = list[Key]  # a name that `Keys.list` does not hide

_KEY_LIST = TypeAdapter(KeyList)
_HEALTH = TypeAdapter(Health)

TIMEOUT_S = 30.0
"""Making a key may wait some seconds for a server name; restarting Xray takes a few."""


class Client:
    """A server's API. Use it as a context manager, or close it; it may be used from several threads at once.

    Every method raises ApiError, or one of its subclasses, when the server does not do what was asked.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        verify: ssl.SSLContext | Path | str | bool = True,
        fingerprint: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        """A client of the server at `https://host:port`; nothing is sent yet.

        `fingerprint`: trust the certificate with this SHA-256 and no other. `verify`: a PEM file of certificates to
        trust, or a context of your own; by default the system's authorities. Raises ValueError, or OSError when the
        PEM file cannot be read.
        """
        url = httpx.URL(base_url)
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host) and fingerprint is None):
            msg = f"give a URL such as https://203.0.113.10:8000, not {base_url!r}: without TLS anybody can read along"
            raise ValueError(msg)
        self._use(
            httpx.Client(
                base_url=url,
                headers={"X-API-Key": api_key} if api_key else {},
                verify=context_for(verify=verify, fingerprint=fingerprint),
                timeout=timeout,
                trust_env=not is_loopback(url.host),  # a proxy of the environment has no business on loopback
            )
        )

    @classmethod
    def local(cls, socket: Path, *, timeout: float = TIMEOUT_S) -> Self:
        """A client of the server on this machine, by the Unix socket in its data directory: no API key is needed."""
        transport = httpx.HTTPTransport(uds=str(socket))
        return cls.over(httpx.Client(base_url="http://localhost", transport=transport, timeout=timeout))

    @classmethod
    def over(cls, client: httpx.Client) -> Self:
        """A client over an HTTP client of your own, which has the base URL and the API key; it is closed with this."""
        made = cls.__new__(cls)
        made._use(client)  # noqa: SLF001 - our own
        return made

    def _use(self, client: httpx.Client) -> None:
        self._http = Http(client)
        self.keys = Keys(self._http)
        self.system = System(self._http)

    def info(self) -> Info:
        """What answers there. Needs no API key."""
        return self._http.one(Info, "GET", "/api/")

    def health(self) -> Health:
        """How everything is; also when it is unhealthy. Needs no API key. Raises Unavailable when nobody answers."""
        response = self._http.response("GET", "/health")
        if response.headers.get("content-type", "").startswith("application/json"):
            return parsed(_HEALTH, response)
        raise error_of(response.status_code, json_of(response), response.headers)

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all connections."""
        self.close()


class Keys:
    """`/api/keys`. A key is named by its id or its UUID."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, name: str, idempotency_key: str | None = None, **limits: Unpack[KeyLimits]) -> Key:
        """Make a key; its link carries traffic when this returns.

        The same `idempotency_key`, name and limits again within 24 hours give the first key once more. Raises Rejected
        for a name or a limit that is none, or when all ports are taken.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        return self._http.one(Key, "POST", "/api/keys", json={"name": name, **to_json(limits)}, headers=headers)

    def create_many(self, keys: Iterable[NewKey]) -> KeyList:
        """Make several keys, all of them or none. Raises what `create` raises."""
        return self._http.answer(_KEY_LIST, "POST", "/api/keys/bulk", json={"keys": [to_json(key) for key in keys]})

    def change(self, id_or_uuid: str, **fields: Unpack[KeyFields]) -> Key:
        """Change a key: it works, or no longer, accordingly when this returns; its link stays the same.

        Fields that are not given stay as they are. Raises NotFound, or Rejected; then nothing was changed.
        """
        return self._http.one(Key, "PATCH", key_path(id_or_uuid), json=to_json(fields))

    def extend(self, ids_or_uuids: Iterable[str], days: int) -> KeyList:
        """Let keys expire later, all of them or none; those that never expire stay so. Raises NotFound, Rejected."""
        body = {"ids": [*ids_or_uuids], "days": days}
        return self._http.answer(_KEY_LIST, "POST", "/api/keys/bulk/extend", json=body)

    def list(self) -> KeyList:
        """All keys, oldest first."""
        return self._http.answer(_KEY_LIST, "GET", "/api/keys")

    def get(self, id_or_uuid: str) -> Key:
        """One key. Raises NotFound."""
        return self._http.one(Key, "GET", key_path(id_or_uuid))

    def config(self, id_or_uuid: str) -> KeyConfig:
        """A key and the link for its customer. Raises NotFound."""
        return self._http.one(KeyConfig, "GET", key_path(id_or_uuid, "config"))

    def delete(self, id_or_uuid: str) -> Done:
        """Delete a key; nobody gets in with it when this returns. Raises NotFound."""
        return self._http.one(Done, "DELETE", key_path(id_or_uuid))

    def delete_many(self, ids_or_uuids: Iterable[str]) -> DeletedMany:
        """Delete several keys, all of them or none. Raises NotFound."""
        return self._http.one(DeletedMany, "POST", "/api/keys/bulk/delete", json={"ids": [*ids_or_uuids]})

    def traffic(self, id_or_uuid: str) -> Traffic:
        """What a key has used, counted now. Raises NotFound, or Unavailable when Xray does not tell."""
        return self._http.one(Traffic, "GET", key_path(id_or_uuid, "traffic"))

    def reset_traffic(self, id_or_uuid: str) -> TrafficReset:
        """Let a key's total start again from zero. Raises NotFound, or Unavailable when Xray does not tell."""
        return self._http.one(TrafficReset, "POST", key_path(id_or_uuid, "traffic", "reset"))

    def history(
        self,
        id_or_uuid: str,
        since: datetime | None = None,
        until: datetime | None = None,
        step: Literal["hour", "day"] = "hour",
    ) -> TrafficHistory:
        """What a key used by hour or day, UTC; by default of the last day, or 30 days. Raises NotFound, Rejected."""
        span = {name: in_utc(moment) for name, moment in (("from", since), ("to", until)) if moment is not None}
        path = key_path(id_or_uuid, "traffic", "history")
        return self._http.one(TrafficHistory, "GET", path, params={**span, "step": step})

    def online(self, id_or_uuid: str) -> Online:
        """Whether a key's customer is online now, and from how many addresses. Raises NotFound, Unavailable."""
        return self._http.one(Online, "GET", key_path(id_or_uuid, "online"))


class System:
    """`/api/system`: the database, config.json and the running Xray, compared and brought together."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def sync_config(self) -> Synced:
        """Bring config.json and Xray to what the database says, without a restart where that is possible."""
        return self._http.one(Synced, "POST", "/api/system/sync-config")

    def config_status(self) -> ConfigStatus:
        """Whether config.json follows the database."""
        return self._http.one(ConfigStatus, "GET", "/api/system/config-status")

    def verify_reality(self) -> RealityVerified:
        """Check every REALITY setting and every target, and put right what can be."""
        return self._http.one(RealityVerified, "POST", "/api/system/verify-reality")

    def ports(self) -> Ports:
        """Who has which port."""
        return self._http.one(Ports, "GET", "/api/system/ports")

    def reset_ports(self) -> PortsReset:
        """Hand all ports out again from the lowest; keys that get another one need a new link."""
        return self._http.one(PortsReset, "POST", "/api/system/ports/reset")

    def ports_status(self) -> PortsStatus:
        """What is wrong with the ports."""
        return self._http.one(PortsStatus, "GET", "/api/system/ports/status")

    def xray_config_status(self) -> XrayConfigStatus:
        """What config.json holds, and whether Xray finds it fit."""
        return self._http.one(XrayConfigStatus, "GET", "/api/system/xray/config-status")

    def xray_inbounds(self) -> XrayInbounds:
        """The VLESS inbounds of config.json."""
        return self._http.one(XrayInbounds, "GET", "/api/system/xray/inbounds")

    def xray_sync_config(self) -> XraySynced:
        """Bring config.json to what the database says and restart Xray: everybody is disconnected for a moment."""
        return self._http.one(XraySynced, "POST", "/api/system/xray/sync-config")

    def xray_validate_sync(self) -> XrayValidated:
        """Compare the database with config.json and the running Xray; changes nothing."""
        return self._http.one(XrayValidated, "GET", "/api/system/xray/validate-sync")

    def fix_reality_keys(self) -> Done:
        """Put the stored REALITY key pair back into config.json and restart Xray."""
        return self._http.one(Done, "POST", "/api/system/fix-reality-keys")
