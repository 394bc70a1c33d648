"""Lists of `vless://` links, as most clients read them: one on each line."""

from collections.abc import Iterable
from urllib.parse import quote

from vpnkeys.domain.forms.entries import ENDED_ADDRESS, ENDED_PORT, ENDED_UUID, Entry
from vpnkeys.domain.forms.vless import UNRESERVED, render_link
from vpnkeys.domain.inbound import SiteOf


def render_links(entries: Iterable[Entry], site_of: SiteOf) -> str:
    """Return the links of all entries."""
    return "".join(f"{_link(entry, site_of)}\n" for entry in entries)


def _link(entry: Entry, site_of: SiteOf) -> str:
    if entry.works:
        return render_link(entry.key, site_of(entry.key))
    place = f"{ENDED_UUID}@{ENDED_ADDRESS}:{ENDED_PORT}"
    return f"vless://{place}?security=none&encryption=none&type=tcp#{quote(entry.name, safe=UNRESERVED)}"
