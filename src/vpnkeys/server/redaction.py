"""The last net under the log: what looks like a secret, or like where a visitor comes from, is not written.

Nothing of ours logs such things. But Xray, uvicorn and exceptions bring words of their own.
"""

import re
from ipaddress import ip_address

_SECRETS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), "[key]"),
    (re.compile(r"vless://[^\s'\"]+"), "[link]"),
    (re.compile(r"vpnk_[\w-]+"), "[token]"),
    (re.compile(r"(?i)(x-api-key|x-csrf-token|set-cookie|cookie|authorization)(['\"]?\s*[:=,]\s*(?:b?['\"])?)(?:(?:basic|bearer)\s+)?[^\s'\",]+"),
     r"\1\2[secret]"),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/-]+=*"), "Bearer [secret]"),
    (re.compile(r"(/sub/)[\w-]+"), r"\1[token]"),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), r"\1[secret]@"),  # the password in a URL, such as a database's
    # What token_urlsafe(32) and X25519 keys look like: long, without a gap, of all kinds of letters.
    (re.compile(r"(?<![\w-])(?=[\w-]{40})(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?=[A-Za-z_-]*\d)[\w-]+"), "[secret]"),
    (re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])"), "[digest]"),
)  # fmt: skip

# Colons alone are time, slices and C++; `ip_address` has the last word.
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)|(?=[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:)[0-9A-Fa-f:.]*[0-9A-Fa-f](?![\w:]))"
)

# The UUID in `key-UUID` is an id, which lets nobody in; Xray also knows those that do.
_UUID = re.compile(r"(?<!key-)\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")


def redact(text: str, *, is_ours: bool = True) -> str:
    """The text without secrets and IP addresses; unless it `is_ours`, without UUIDs too, which keys' ids look like."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    text = _ADDRESS.sub(_without_address, text)
    return text if is_ours else _UUID.sub("[uuid]", text)


def _without_address(match: re.Match[str]) -> str:
    try:
        ip_address(match[0])
    except ValueError:
        return match[0]
    return "[address]"
