"""Says why a key does not get a port."""

from collections.abc import Collection

from vpnkeys.domain.errors import AlreadyTaken, InvalidChoice, PortsExhausted, VpnKeysError, XrayUnavailable
from vpnkeys.domain.portpool import PortRange


def refused_choice(port: int, pool: PortRange, *, is_a_keys: bool) -> VpnKeysError:
    """Return the error for a chosen port that is outside of the pool, or not free; `is_a_keys`: another key has it."""
    if port not in pool:
        return InvalidChoice(f"port: give one of {pool} (VPNKEYS_PORT_RANGE), or leave it out for the lowest free one.")
    owner = "key" if is_a_keys else "program or vpnkeys server on this host, or to your own inbound"
    return AlreadyTaken(f"port {port} belongs to another {owner}; choose another, or leave it out.")


def none_left(pool: PortRange, pending: Collection[int]) -> VpnKeysError:
    """Return the error for a pool without a free port; `pending` are those that are free once Xray confirms a stop."""
    if reserved := sum(port in pool for port in pending):
        return XrayUnavailable(
            f"No port of {pool} is free now: {reserved} are reserved until Xray confirms that their keys have stopped. "
            "Nothing was changed; try again in some seconds."
        )
    return PortsExhausted(f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE.")
