"""Renders inbounds as JSON, and keeps a written config.json in pieces: a change of keys renders only what it changes.

`reading.py` has the inverse of `render_inbound`.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import compress
from operator import is_not
from typing import Any

import orjson

from vpnkeys.domain.inbound import Inbound, ServerIdentity, VlessClient, inbounds_with, warm_inbounds
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.plan import FileStep
from vpnkeys.domain.reality import FallbackLimit

JsonObject = dict[str, Any]

_HERE = b"\0"  # what no JSON has: a text has it as \u0000
_BEFORE_EACH = b",\n    "


def render_inbound(inbound: Inbound) -> JsonObject:
    """Return the inbound as an element of config.json's `inbounds`."""
    address: JsonObject = {"listen": inbound.listen}
    if inbound.port is not None:
        address["port"] = inbound.port
    return {
        "tag": inbound.tag,
        **address,
        "protocol": "vless",
        "settings": {"clients": [_render_client(client) for client in inbound.clients], "decryption": "none"},
        "streamSettings": {
            "network": "raw",
            "security": "reality",
            "realitySettings": {
                "target": inbound.reality.target,
                "serverNames": list(inbound.reality.server_names),
                "privateKey": inbound.reality.private_key,
                # Never left out: an empty one shuts out mihomo from 26.7.11 on, and sing-box from 26.9.8 on.
                "minClientVer": inbound.reality.min_client_version,
                "shortIds": list(inbound.reality.short_ids),
                **_limit("limitFallbackUpload", inbound.reality.fallback_up),
                **_limit("limitFallbackDownload", inbound.reality.fallback_down),
            },
        },
    }


def _limit(name: str, limit: FallbackLimit) -> JsonObject:
    return {name: {"afterBytes": limit.after_bytes, "bytesPerSec": limit.bytes_per_s}} if limit.bytes_per_s else {}


def _render_client(client: VlessClient) -> JsonObject:
    return {"id": client.uuid, "email": client.email, "flow": client.flow}


@dataclass(frozen=True, slots=True)
class Pieces:
    """config.json as bytes: `head`, an inbound for each of `ports`, which are in order, and `tail`.

    The inbounds are those of `keys` at `site`, and all else is as `base` says, of which only equality counts here.
    """

    keys: Keys
    site: ServerIdentity
    base: object
    head: bytes
    tail: bytes
    ports: list[int]
    inbounds: list[bytes]

    @classmethod
    def of(cls, step: FileStep, base: object, document: JsonObject, inbounds: tuple[Inbound, ...]) -> "Pieces":
        """Return the pieces after a change of keys: of a document with its warm inbounds, and the inbounds of keys."""
        own, place = document["inbounds"], 1 + len(warm_inbounds(step.site))  # behind the API's
        marked = {**document, "inbounds": [*own[:place], orjson.Fragment(_HERE), *own[place:]]}
        head, tail = rendered(marked).split(_BEFORE_EACH + _HERE)
        ports, pieces = list(map(_port, inbounds)), list(map(_piece, inbounds))
        return cls(step.after, step.site, base, head, tail, ports, pieces)

    def lead_to(self, step: FileStep, base: object) -> bool:
        """Return whether the change of keys begins with what these pieces hold."""
        if (self.site, self.base, len(self.keys)) != (step.site, base, len(step.before)):
            return False
        # Without an instruction for each key: but for those that were renamed or the like, they are the same objects.
        others = compress(zip(self.keys, step.before, strict=True), map(is_not, self.keys, step.before))
        return all(was == now or self._inbounds(was) == self._inbounds(now) for was, now in others)

    def _inbounds(self, key: Key) -> tuple[Inbound, ...]:
        """Return the inbound of a key, and what doors have of it."""
        return inbounds_with([key.id], Keys([key]), self.site)

    def after(self, step: FileStep) -> "Pieces":
        """Return the pieces after a change of keys to which these lead."""
        ports, inbounds = self.ports.copy(), self.inbounds.copy()
        for port in step.gone:
            at = bisect_left(ports, port)
            del ports[at], inbounds[at]
        for inbound in step.come:
            at = bisect_left(ports, _port(inbound))
            ports.insert(at, _port(inbound))
            inbounds.insert(at, _piece(inbound))
        return replace(self, keys=step.after, ports=ports, inbounds=inbounds)

    @property
    def content(self) -> bytes:
        """The whole."""
        return b"".join((self.head, *self.inbounds, self.tail))


@dataclass(frozen=True, slots=True)
class ConfigDraft:
    """A config.json that was checked: parsed, as bytes, and `around`, the digest of all but the inbounds of keys.

    `document` may lack our inbounds. `refusal` is Xray's error about the operator's sections; "" when Xray accepts the
    whole. With `pieces`, the next change of keys begins where this one ends.
    """

    document: JsonObject
    content: bytes
    around: str
    refusal: str = ""
    pieces: Pieces | None = None


def rendered(document: JsonObject) -> bytes:
    """Return a document as it stands in config.json."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _piece(inbound: Inbound) -> bytes:
    # A text has its line ends as \n in two characters, so that each of these begins a line.
    whole = orjson.dumps(render_inbound(inbound), option=orjson.OPT_INDENT_2)
    return _BEFORE_EACH + whole.replace(b"\n", b"\n    ")


def _port(inbound: Inbound) -> int:
    return inbound.port or 0
