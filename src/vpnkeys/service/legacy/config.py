"""Reads what the Xray of an old installation served, from its config.json, and the key pair in its keys.env."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from typing import Any, TypeVar

from dotenv import dotenv_values

from vpnkeys.commented import without_comments
from vpnkeys.domain.errors import LegacyUnreadable
from vpnkeys.domain.key import VISION
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.legacy.importing import Clash
from vpnkeys.service.legacy.values import parse_port, parse_server_name, parse_short_id, parse_uuid

KEY_TAG_PREFIX = "inbound-"

_REPAIR = "let the old server write it anew (POST /api/system/sync-config), or correct it by hand, then import again."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served:
    """Holds what an inbound let in: clients with this UUID, on this port, with one of its short ids and server names.

    `flow` is what its clients must have set, Vision or nothing: Xray refuses the other one.
    """

    tag: str
    uuid: str
    port: int
    short_ids: tuple[str, ...]
    server_names: tuple[str, ...]
    flow: str
    target: str


@dataclass(frozen=True, slots=True)
class ServedConfig:
    """Holds what a config.json serves, and the UUIDs of inbounds that cannot be served here, with a clash for each."""

    served: tuple[Served, ...]
    unfit: frozenset[str]
    clashes: tuple[Clash, ...]


def read_key_pair(text: str) -> tuple[KeyPair, tuple[Clash, ...]]:
    """Return the key pair of PRIVATE_KEY in a keys.env, and a clash when PUBLIC_KEY does not belong to it.

    Raises LegacyUnreadable when PRIVATE_KEY is missing or damaged.
    """
    # Some tools pad base64 with "=", which Xray's own output does not have: the same key either way.
    values = {name: (value or "").strip().rstrip("=") for name, value in _env(text).items()}
    try:
        pair = KeyPair.of_private(values.get("PRIVATE_KEY", ""))
    except ValueError as error:
        msg = f"keys.env: PRIVATE_KEY is missing or damaged ({error}); give the file that the old server uses."
        raise LegacyUnreadable(msg) from error
    public_key = values.get("PUBLIC_KEY", "")
    if public_key == pair.public_key:
        return pair, ()
    return pair, (
        Clash(
            "key_pair_mismatch",
            f"keys.env: PUBLIC_KEY ({public_key or 'missing'}) does not belong to PRIVATE_KEY, whose public key is "
            f"{pair.public_key}: compare with pbk in a customer's working link; where that is the latter, put it into "
            "keys.env as PUBLIC_KEY, else put the private key there that belongs to that pbk.",
        ),
    )


def _env(text: str) -> Mapping[str, str | None]:
    # Not interpolated: a "$" in a value is part of the value.
    return dotenv_values(stream=StringIO(text), interpolate=False)


def read_config(text: str, pair: KeyPair, known: frozenset[str]) -> ServedConfig:
    """Return what the inbounds of keys serve: those tagged `inbound-...`, and others that let a known UUID in.

    Other inbounds are the operator's own and are left out. Raises LegacyUnreadable when it is no config.json.
    """
    served: list[Served] = []
    unfit: set[str] = set()
    clashes: list[Clash] = []
    for raw in _inbounds(text):
        if not _is_key_inbound(raw, known):
            continue
        tag = str(raw.get("tag", ""))
        try:
            served.append(_served(raw, tag, pair))
        except ValueError as error:
            clashes.append(Clash("inbound_unfit", f"config.json: inbound {tag or 'without a tag'} {error}"))
            # The UUID in the tag as well, because the clients may be what is damaged.
            unfit |= {*_uuids(raw), tag.removeprefix(KEY_TAG_PREFIX)}
    return ServedConfig(tuple(served), frozenset(unfit), tuple(clashes))


def _inbounds(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(without_comments(text))
    except ValueError as error:
        msg = f"config.json is not JSON ({error}); give the config.json that the old Xray runs with."
        raise LegacyUnreadable(msg) from error
    inbounds = document.get("inbounds") if isinstance(document, dict) else None
    if not isinstance(inbounds, list) or not all(isinstance(raw, dict) for raw in inbounds):
        msg = "config.json has no list of inbounds; give the config.json that the old Xray runs with."
        raise LegacyUnreadable(msg)
    return inbounds


def _is_key_inbound(raw: Mapping[str, Any], known: frozenset[str]) -> bool:
    if raw.get("protocol") != "vless":
        return False
    # By the UUID too, because an inbound that was added by hand may have any tag.
    return str(raw.get("tag", "")).startswith(KEY_TAG_PREFIX) or not known.isdisjoint(_uuids(raw))


def _uuids(raw: Mapping[str, Any]) -> Iterator[str]:
    for client in _list(_object(raw.get("settings")).get("clients")):
        with suppress(ValueError):
            yield parse_uuid(_object(client).get("id"))


def _served(raw: Mapping[str, Any], tag: str, pair: KeyPair) -> Served:
    """Return what an inbound serves. Raises ValueError, with the end of a sentence, when it cannot be served here."""
    settings, stream = _object(raw.get("settings")), _object(raw.get("streamSettings"))
    clients = _list(settings.get("clients"))
    if len(clients) != 1:
        msg = f"lets in {len(clients)} clients; each key needs an inbound and a port of its own here: {_REPAIR}"
        raise ValueError(msg)
    client, reality = _object(clients[0]), _object(stream.get("realitySettings"))
    _refuse_other_transports(settings, stream, reality)
    _refuse_other_pair(reality, pair)
    return Served(
        tag=tag,
        uuid=_parsed("id", client.get("id"), parse_uuid),
        port=_parsed("port", raw.get("port"), parse_port),
        short_ids=_parsed_all("shortIds", reality.get("shortIds"), parse_short_id),
        server_names=_server_names(reality.get("serverNames")),
        flow=_flow(client, settings),
        # `dest` is the older name of `target`; Xray takes both.
        target=str(reality.get("target") or reality.get("dest") or ""),
    )


def _flow(client: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the flow of a client; one without a flow has its inbound's (`infra/conf/vless.go` of Xray-core)."""
    flow = client.get("flow") or settings.get("flow") or ""
    if flow not in ("", VISION):
        msg = f"has the flow {flow!r}, which Xray does not know: {_REPAIR}"
        raise ValueError(msg)
    return str(flow)


def _refuse_other_transports(
    settings: Mapping[str, Any], stream: Mapping[str, Any], reality: Mapping[str, Any]
) -> None:
    """Refuse an inbound that differs from ours in something that its clients must have set. Raises ValueError."""
    raw = _object(stream.get("rawSettings") or stream.get("tcpSettings"))
    others = {
        # Xray calls plain TCP `tcp`, and since lately `raw`, with settings of either name.
        "network": stream.get("network", "tcp") not in ("tcp", "raw"),
        "security": stream.get("security") != "reality",
        "header": _object(raw.get("header")).get("type", "none") != "none",
        "decryption": settings.get("decryption", "none") != "none",
        "mldsa65Seed": bool(reality.get("mldsa65Seed")),
    }
    if wrong := [name for name, is_other in others.items() if is_other]:
        msg = (
            f"is not plain VLESS over TCP with REALITY ({', '.join(wrong)}), so its links cannot be served here: "
            "give its customer a key of the usual kind on the old server, then import again."
        )
        raise ValueError(msg)


def _refuse_other_pair(reality: Mapping[str, Any], pair: KeyPair) -> None:
    try:
        serving = KeyPair.of_private(str(reality.get("privateKey", "")))
    except ValueError as error:
        msg = f"has a damaged privateKey: {_REPAIR}"
        raise ValueError(msg) from error
    if serving != pair:
        msg = (
            f"serves with another REALITY key than keys.env (public key {serving.public_key}, there {pair.public_key})"
            ": links work with what Xray served, so put the pair of config.json into keys.env, then import again."
        )
        raise ValueError(msg)


def _parsed(name: str, value: object, parse: Callable[[object], T]) -> T:
    try:
        return parse(value)
    except ValueError as error:
        msg = f"has a wrong {name}: {value!r} {error}: {_REPAIR}"
        raise ValueError(msg) from error


def _parsed_all(name: str, values: object, parse: Callable[[object], str]) -> tuple[str, ...]:
    parsed: Sequence[str] = [_parsed(name, value, parse) for value in _list(values)]
    if not parsed:
        msg = f"has no {name}: {_REPAIR}"
        raise ValueError(msg)
    return tuple(dict.fromkeys(parsed))


def _server_names(values: object) -> tuple[str, ...]:
    """Return the server names that a link can carry. Xray also accepts the empty one, for clients that name none."""
    names = []
    for value in _list(values):
        with suppress(ValueError):
            names.append(parse_server_name(value))
    if not names:
        msg = f"has no lower-case host name among its serverNames: {_REPAIR}"
        raise ValueError(msg)
    return tuple(dict.fromkeys(names))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
