"""Replaces secrets and IP addresses in log lines before they are written.

Our own messages contain none; those of Xray, of libraries and of exceptions may.
"""

import re
from ipaddress import ip_address

# What a pattern begins with decides what it costs, as few lines have anything of it: a text, or one of a few letters.
_SECRETS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), "[key]"),
    (re.compile(r"vless://[^\s'\"]+"), "[link]"),
    (re.compile(r"vpnk_[\w-]+"), "[token]"),
    (re.compile(r"(?i)(?=[xsca])(x-api-key|x-csrf-token|set-cookie|cookie|authorization)(['\"]?\s*[:=,]\s*(?:b?['\"])?)(?:(?:basic|bearer)\s+)?[^\s'\",]+"),
     r"\1\2[secret]"),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/-]+=*"), "Bearer [secret]"),
    (re.compile(r"/sub/[\w-]+"), "/sub/[token]"),
    (re.compile(r"://([^\s/:@]*):[^\s/@]+@"), r"://\1:[secret]@"),  # the password in a URL, such as a database's
    # token_urlsafe(32) and X25519 keys: 40 or more of the base64url alphabet, with upper and lower case and a digit.
    (re.compile(r"(?<![\w-])(?=[\w-]{40})(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?=[A-Za-z_-]*\d)[\w-]+"), "[secret]"),
    (re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])"), "[digest]"),
)  # fmt: skip

# Wider than addresses are: times, slices and "C++::x" have colons too. `ip_address` decides.
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)|(?=[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:)[0-9A-Fa-f:.]*[0-9A-Fa-f](?![\w:]))"
)

# "key-UUID" is a tag with a key's id, which is public. A bare UUID in Xray's output may be a VLESS credential.
_UUID = re.compile(r"(?<!key-)\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")


def redact(text: str, *, is_ours: bool = True) -> str:
    """Return the text without secrets and IP addresses, and without UUIDs unless the message `is_ours`."""
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
