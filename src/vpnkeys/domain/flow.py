"""The flows of VLESS clients."""

from enum import StrEnum

from vpnkeys.domain.key import VISION


class Flow(StrEnum):
    """A flow that Xray takes for a client of an inbound."""

    NONE = ""
    VISION = VISION

    @classmethod
    def of_link(cls, flow: str) -> "Flow | None":
        """Return the flow that lets in clients whose links have this one; None when there is no such flow."""
        # On the wire such a client says that it has Vision: the end is for itself, that it sends QUIC too.
        plain = flow.removesuffix("-udp443") if flow.startswith(VISION) else flow
        return cls(plain) if plain in {*cls} else None
