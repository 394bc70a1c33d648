"""The forms in which customers' clients take their keys: links, sing-box's configuration, mihomo's.

A key that does not work stays in the list as an entry whose name says why. A client that found an empty list would
keep the entry that it had, or call the list broken, and its user would learn nothing.
"""

from vpnkeys.domain.forms.entries import ENDED_ADDRESS, ENDED_PORT, ENDED_UUID, Entry, entries_of
from vpnkeys.domain.forms.links import render_links
from vpnkeys.domain.forms.mihomo import mihomo_config
from vpnkeys.domain.forms.sing_box import NEWEST_FORM, sing_box_config

__all__ = [
    "ENDED_ADDRESS",
    "ENDED_PORT",
    "ENDED_UUID",
    "NEWEST_FORM",
    "Entry",
    "entries_of",
    "mihomo_config",
    "render_links",
    "sing_box_config",
]
