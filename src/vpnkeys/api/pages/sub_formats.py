"""Chooses the format of a subscription for a client, and writes it."""

import base64
import json
import re
from enum import StrEnum
from typing import Any, NamedTuple

from vpnkeys.domain.client_config import mihomo_config, sing_box_config
from vpnkeys.domain.errors import Rejected
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.link import render_link


class UnknownFormat(Rejected):
    """Says that `?format=` names no format."""

    code = "unknown_format"


class Format(StrEnum):
    """Lists the values of `?format=`."""

    LINK = "link"
    BASE64 = "base64"
    SING_BOX = "sing-box"
    MIHOMO = "mihomo"
    HTML = "html"


class Asker(NamedTuple):
    """Holds the headers by which a client says what program it is and what it accepts."""

    user_agent: str
    accept: str


class Document(NamedTuple):
    """Holds a written subscription with its media type."""

    text: str
    media_type: str


# A User-Agent begins with the program's own name. What it is compatible with or built on follows, and must not match.
_SING_BOX_APP = re.compile(r"SF[AIMT]\b")
_FORMAT_OF = (
    (re.compile(r"sing-box\b", re.IGNORECASE), Format.SING_BOX),
    (_SING_BOX_APP, Format.SING_BOX),
    (re.compile(r"mihomo|clash|flclash|stash", re.IGNORECASE), Format.MIHOMO),
)

# mihomo reads YAML 1.2, which includes JSON except for these characters: YAML refuses them or takes them for line ends.
# Escaping all that is not ASCII is no way out: JSON escapes an emoji as a surrogate pair, which YAML refuses too.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def choose(wanted: str | None, asker: Asker) -> Format:
    """Return the format asked for by name, else what fits the client, mostly base64. Raises UnknownFormat."""
    if wanted is not None:
        try:
            return Format(wanted)
        except ValueError:
            raise UnknownFormat(f"There is no such format; ask for one of {', '.join(Format)}, or for none.") from None
    for program, found in _FORMAT_OF:
        if program.match(asker.user_agent):
            return found
    is_browser = asker.user_agent.startswith("Mozilla/") and "text/html" in asker.accept.lower()
    return Format.HTML if is_browser else Format.BASE64


def write(form: Format, key: Key, site: ServerIdentity, asker: Asker) -> Document:
    """Return a subscription in any format but HTML; in plain formats without a link while the key is not active."""
    link = f"{render_link(key, site)}\n" if key.status is Status.ACTIVE else ""
    match form:
        case Format.SING_BOX:
            whole_device = _SING_BOX_APP.match(asker.user_agent) is not None
            config = sing_box_config(key, site, whole_device=whole_device)
            return Document(to_json(config), "application/json")
        case Format.MIHOMO:
            return Document(to_json(mihomo_config(key, site)), "application/yaml; charset=utf-8")
        case Format.LINK:
            return Document(link, "text/plain; charset=utf-8")
        case _:
            return Document(base64.b64encode(link.encode()).decode(), "text/plain; charset=utf-8")


def to_json(config: dict[str, Any]) -> str:
    """Return a configuration as JSON that readers of YAML accept too."""
    written = json.dumps(config, ensure_ascii=False, indent=2)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", written) + "\n"
