"""Says in words that another program has the port of an inbound."""

from vpnkeys.domain.errors import PortTaken
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.domain.nodes.door import is_door


def port_taken(inbound: Inbound) -> PortTaken:
    """Return the error for an inbound whose port another program has."""
    who = f"`ss -ltnp sport = :{inbound.port}` names it"
    if is_door(inbound.tag):
        return PortTaken(
            f"Another program listens on port {inbound.port}, so that the old links of {inbound.tag} do not work. Stop "
            f"that program ({who}), or close the door: `vpnkeys import close-door {inbound.tag}`."
        )
    return PortTaken(
        f"Another program listens on port {inbound.port}, so that the key cannot work there. Stop that program "
        f"({who}), or move the key to another port: "
        f"`vpnkeys keys set {inbound.tag.removeprefix(KEY_TAG_PREFIX)} --port 0`."
    )
