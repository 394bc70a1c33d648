"""An independent, strict reader of the share link: what a client would have to make of it.

It shares no code with the product on purpose: a fault in writing links must not be cancelled out by
the same fault in reading them. Anything beside the exact form is refused.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_PARAMETERS = ("security", "encryption", "sni", "fp", "pbk", "sid", "type", "flow")
_FIXED = {
    "security": "reality",
    "encryption": "none",
    "type": "tcp",
    "flow": "xtls-rprx-vision",
}
_LINK = re.compile(
    r"vless://(?P<uuid>[^@/?#]*)@(?P<host>\[[^\]/?#@]*\]|[^:\[\]/?#@]*):(?P<port>[0-9]{1,5})"
    r"\?(?P<query>[^?#]*)#(?P<name>[^#]*)",
    re.ASCII,
)
# The characters encodeURIComponent leaves as they are, and escapes with capital digits.
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()]|%[0-9A-F]{2})+", re.ASCII)
_LEFT_ALONE = re.compile(rb"[A-Za-z0-9\-_.!~*'()]")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)


class LinkError(ValueError):
    """The text is not a link in the exact form."""


@dataclass(frozen=True)
class VlessLink:
    """What a link says; `dataclasses.replace` forges a wrong one, nothing is checked here."""

    uuid: str
    host: str
    port: int
    sni: str
    public_key: str
    short_id: str
    name: str
    fingerprint: str = "chrome"
    flow: str = "xtls-rprx-vision"

    @classmethod
    def parse(cls, text: str) -> VlessLink:
        """Read a link; `LinkError` says what is wrong with it."""
        match = _LINK.fullmatch(text)
        if match is None:
            raise LinkError(f"not a vless link: {text!r}")
        values = _query(match["query"])
        return cls(
            uuid=_uuid(match["uuid"]),
            host=_host(match["host"]),
            port=_port(match["port"]),
            sni=_host_name(values["sni"]),
            public_key=_public_key(values["pbk"]),
            short_id=_short_id(values["sid"]),
            name=_decode(match["name"], "name"),
            fingerprint=values["fp"],
        )


def _decode(text: str, what: str) -> str:
    """Undo percent-encoding, allowing only what encodeURIComponent writes."""
    if not _ENCODED.fullmatch(text):
        raise LinkError(f"{what} is not percent-encoded: {text!r}")
    for escape in re.findall(r"%([0-9A-F]{2})", text):
        if _LEFT_ALONE.fullmatch(bytes.fromhex(escape)):
            raise LinkError(f"{what} escapes a character that needs none: {text!r}")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise LinkError(f"{what} is not UTF-8: {text!r}") from None


def _query(text: str) -> dict[str, str]:
    """The parameters: exactly the known ones, each once and in the known order."""
    pairs = [part.partition("=") for part in text.split("&")]
    names = tuple(name for name, _, _ in pairs)
    if names != _PARAMETERS:
        raise LinkError(f"parameters are {names}, not {_PARAMETERS}")
    values = {name: _decode(value, name) for name, _, value in pairs}
    for name, fixed in _FIXED.items():
        if values[name] != fixed:
            raise LinkError(f"{name} is {values[name]!r}, not {fixed!r}")
    return values


def _uuid(text: str) -> str:
    """A UUID in its usual form: small letters, four hyphens."""
    try:
        canonical = str(uuid.UUID(text))
    except ValueError:
        canonical = ""
    if text != canonical:
        raise LinkError(f"not a UUID: {text!r}")
    return text


def _host(text: str) -> str:
    """An IPv4 address, an IPv6 address in brackets (given back without) or a host name."""
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise LinkError(f"not an IPv6 address: {text!r}") from None
    return _host_name(text) if re.search("[a-z]", text) else _ipv4(text)


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise LinkError(f"not an IPv4 address: {text!r}") from None


def _host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise LinkError(f"not a host name: {text!r}")
    return text


def _port(text: str) -> int:
    port = int(text)
    if str(port) != text or not 1 <= port <= 65535:
        raise LinkError(f"not a port: {text!r}")
    return port


def _public_key(text: str) -> str:
    """A raw X25519 key: 32 bytes in base64url without padding, and only their one spelling."""
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32 or base64.urlsafe_b64encode(raw).decode().rstrip("=") != text:
        raise LinkError(f"not an X25519 public key: {text!r}")
    return text


def _short_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16}", text, re.ASCII):
        raise LinkError(f"not a short id of 16 hexadecimal digits: {text!r}")
    return text
