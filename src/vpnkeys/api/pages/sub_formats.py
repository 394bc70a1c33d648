"""Chooses the format of a subscription for a client, and writes it."""

import base64
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from vpnkeys.domain.errors import Rejected
from vpnkeys.domain.forms import NEWEST_FORM, Entry, mihomo_config, render_links, sing_box_config
from vpnkeys.domain.inbound import SiteOf


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

# The version of sing-box inside an app comes after the app's own; those of its own makers have the same number.
_CORE = (re.compile(r"\bsing-box[ /]v?(\d{1,4})\.(\d{1,4})"), re.compile(r"SF[AIMT]/(\d{1,4})\.(\d{1,4})"))

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


def sing_box_version(user_agent: str) -> tuple[int, int]:
    """Return the version of sing-box that a client says it has inside; the newest form's when it does not say."""
    found = next((found for pattern in _CORE if (found := pattern.search(user_agent))), None)
    return NEWEST_FORM if found is None else (int(found[1]), int(found[2]))


def write(form: Format, entries: Sequence[Entry], site_of: SiteOf, asker: Asker) -> Document:
    """Return a subscription in any format but HTML."""
    match form:
        case Format.SING_BOX:
            whole_device = _SING_BOX_APP.match(asker.user_agent) is not None
            version = sing_box_version(asker.user_agent)
            config = sing_box_config(entries, site_of, whole_device=whole_device, version=version)
            return Document(to_json(config), "application/json")
        case Format.MIHOMO:
            return Document(to_json(mihomo_config(entries, site_of)), "application/yaml; charset=utf-8")
        case Format.LINK:
            return Document(render_links(entries, site_of), "text/plain; charset=utf-8")
        case _:
            links = render_links(entries, site_of)
            return Document(base64.b64encode(links.encode()).decode(), "text/plain; charset=utf-8")


def to_json(config: dict[str, Any]) -> str:
    """Return a configuration as JSON that readers of YAML accept too."""
    written = json.dumps(config, ensure_ascii=False, indent=2)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", written) + "\n"
