"""The link that a customer has from another panel, as far as its file tells."""

from datetime import datetime

from vpnkeys.domain.forms.vless import render_link
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key
from vpnkeys.domain.moving.panel import Customer
from vpnkeys.domain.reality import Fingerprint

_ANY_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - a link does not have it


def render_old_link(customer: Customer, host: str) -> str:
    """Return a link that worked there, to `host` unless the panel names one; "" where it cannot be known.

    An inbound may have several short ids and server names: the customer's own link may have another of them.
    """
    inbound = customer.inbound
    if inbound is None or not inbound.is_tcp or not inbound.server_names or customer.flow is None:
        return ""
    try:
        fingerprint = Fingerprint(inbound.fingerprint)
    except ValueError:
        fingerprint = Fingerprint.CHROME
    key = Key(
        id="",
        name=customer.name,
        uuid=customer.uuid,
        created_at=_ANY_TIME,
        is_active=True,
        port=inbound.link_port or inbound.port,
        short_id=next(iter(inbound.short_ids), ""),
        sni=inbound.server_names[0],
        flow=customer.flow,
    )
    site = ServerIdentity(
        listen="",
        private_key="",
        socket_dir="",
        server_names=inbound.server_names,
        server_address=inbound.host or host,
        public_key=inbound.key_pair.public_key,
        fingerprint=fingerprint,
    )
    return render_link(key, site)
