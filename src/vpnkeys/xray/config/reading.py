"""Reads config.json as Xray does: JSON, in which comments may stand."""

import json
from pathlib import Path
from typing import NamedTuple

import orjson

from vpnkeys.commented import without_comments
from vpnkeys.xray.config.document import JsonObject


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
