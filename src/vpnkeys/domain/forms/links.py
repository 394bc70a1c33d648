"""Lists of `vless://` links, as most clients read them: one on each line."""

from collections.abc import Iterable
from urllib.parse import quote

from vpnkeys.domain.forms.entries import ENDED_ADDRESS, ENDED_PORT, ENDED_UUID, Entry
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.link import UNRESERVED, render_link


def render_links(entries: Iterable[Entry], site: ServerIdentity) -> str:
    """Return the links of all entries."""
    return "".join(f"{_link(entry, site)}\n" for entry in entries)


def _link(entry: Entry, site: ServerIdentity) -> str:
    if entry.works:
        return render_link(entry.key, site)
    place = f"{ENDED_UUID}@{ENDED_ADDRESS}:{ENDED_PORT}"
    return f"vless://{place}?security=none&encryption=none&type=tcp#{quote(entry.name, safe=UNRESERVED)}"
