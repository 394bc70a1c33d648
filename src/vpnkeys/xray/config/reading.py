"""Reads config.json as Xray does: JSON, in which comments may stand; and the inbounds in it.

`parse_inbound` is the inverse of `pieces.render_inbound`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from vpnkeys.commented import without_comments
from vpnkeys.domain.inbound import AnyInbound, ForeignInbound, Inbound, Reality, VlessClient
from vpnkeys.domain.reality import UNLIMITED, FallbackLimit, pad_short_id
from vpnkeys.xray.config.document import list_in, object_in, port_in
from vpnkeys.xray.config.pieces import JsonObject, render_inbound


class Reading(NamedTuple):
    """What a config.json holds, and whether it has comments, which JSON that is written anew has not."""

    document: JsonObject
    has_comments: bool


def read_document(path: Path) -> JsonObject | None:
    """Return the parsed config.json; None when it is missing or no configuration. Raises OSError."""
    try:
        found = parse_config(path.read_bytes())
    except FileNotFoundError:
        return None
    return None if found is None else found.document


def parse_config(content: bytes) -> Reading | None:
    """Return what the content holds; None unless it is an object whose inbounds, if any, are a list of objects."""
    has_comments = False
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        text = content.decode(errors="replace")
        bare = without_comments(text)
        document, has_comments = _first_value(bare), bare != text
    if not isinstance(document, dict):
        return None
    inbounds = document.setdefault("inbounds", [])
    if not isinstance(inbounds, list) or not all(isinstance(raw, dict) for raw in inbounds):
        return None
    return Reading(document, has_comments)


def _first_value(text: str) -> object:
    """Return the first JSON value of a text, as Xray reads no further; None when there is none."""
    text = text.lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
        return orjson.loads(text[:end])  # stricter: no NaN, no lone surrogates, which could not be written again
    except (ValueError, RecursionError):
        return None


def parse_inbound(raw: Mapping[str, Any]) -> AnyInbound:
    """Return the inbound that an element describes; a ForeignInbound when it has anything that we would not write."""
    try:
        inbound = _parse_inbound(raw)
        same = render_inbound(inbound) == raw
    except (KeyError, TypeError, AttributeError):
        return summary(raw)
    return inbound if same else summary(raw)


def _parse_inbound(raw: Mapping[str, Any]) -> Inbound:
    reality = raw["streamSettings"]["realitySettings"]
    return Inbound(
        tag=_text(raw["tag"]),
        listen=_text(raw["listen"]),
        port=_whole(raw["port"]) if "port" in raw else None,
        clients=tuple(
            VlessClient(_text(c["id"]), _text(c["email"]), _text(c["flow"])) for c in raw["settings"]["clients"]
        ),
        reality=Reality(
            target=_text(reality["target"]),
            server_names=tuple(map(_text, reality["serverNames"])),
            private_key=_text(reality["privateKey"]),
            short_ids=tuple(map(_text, reality["shortIds"])),
            min_client_version=_text(reality["minClientVer"]),
            fallback_up=_parse_limit(reality, "limitFallbackUpload"),
            fallback_down=_parse_limit(reality, "limitFallbackDownload"),
        ),
    )


def _parse_limit(reality: Mapping[str, Any], name: str) -> FallbackLimit:
    if name not in reality:
        return UNLIMITED
    return FallbackLimit(_whole(reality[name]["afterBytes"]), _whole(reality[name]["bytesPerSec"]))


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:  # noqa: ANN401 - any JSON
    """Return an integer. "10001", which Xray accepts too, 10001.0 and True, an int in Python, raise TypeError."""
    if type(value) is not int:
        raise TypeError
    return value


def summary(raw: Mapping[str, Any]) -> ForeignInbound:
    """Return the fields that matter of any inbound; fields of a wrong type count as empty."""
    settings = object_in(raw.get("settings"))
    reality = object_in(object_in(raw.get("streamSettings")).get("realitySettings"))
    is_vless = raw.get("protocol") == "vless"
    clients = list_in(settings.get("clients")) if is_vless else []
    return ForeignInbound(
        tag=str(raw.get("tag", "")),
        port=port_in(raw.get("port")),
        protocol=str(raw.get("protocol", "")),
        uuids=tuple(str(object_in(client).get("id", "")) for client in clients),
        short_ids=tuple(pad_short_id(str(short_id)) for short_id in list_in(reality.get("shortIds"))),
        target=str(reality.get("target") or reality.get("dest") or ""),
        server_names=tuple(map(str, list_in(reality.get("serverNames")))),
    )
