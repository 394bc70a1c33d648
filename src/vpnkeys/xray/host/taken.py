"""Says in words what keeps inbounds out of Xray, such as another program that has a port."""

from collections.abc import Mapping

from vpnkeys.domain.errors import DoorRefused, PortTaken, XrayRefused
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.domain.nodes.door import is_door


def worst_of(refused: Mapping[Inbound, XrayRefused]) -> XrayRefused:
    """Return the error to raise when Xray has refused these: one of a key, for which nobody waits at a door."""
    of_keys = [error for inbound, error in refused.items() if not is_door(inbound.tag)]
    if of_keys:
        return min(of_keys, key=lambda error: isinstance(error, PortTaken))
    return DoorRefused(str(next(iter(refused.values()))), tuple(inbound.tag for inbound in refused))


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
