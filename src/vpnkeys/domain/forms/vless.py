"""The `vless://` link that a customer imports into a client.

Format: the VLESS share-link standard (XTLS/Xray-core discussion 716); every value is percent-encoded.
"""

from ipaddress import IPv6Address
from urllib.parse import quote, urlencode

from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key

# The characters besides letters and digits that encodeURIComponent does not encode (ECMA-262, 19.2.6.4).
UNRESERVED = "-_.!~*'()"


def render_link(key: Key, site: ServerIdentity) -> str:
    """Return the `vless://` link of a key. An IPv6 address is put in brackets; the fragment is the key's name."""
    query = {
        "security": "reality",
        "encryption": "none",  # VLESS has none of its own; REALITY encrypts
        "sni": key.sni,
        "fp": site.fingerprint_of(key).value,  # the browser whose TLS handshake the client imitates (uTLS)
        "pbk": site.public_key,
        "sid": key.short_id,
        "type": "tcp",
    }
    if key.flow:
        query["flow"] = key.flow
    values = urlencode(query, quote_via=quote, safe=UNRESERVED)
    host = host_in_url(site.server_address)
    return f"vless://{key.uuid}@{host}:{key.port}?{values}#{quote(key.name, safe=UNRESERVED)}"


def host_in_url(address: str) -> str:
    """Return an address or name in the form for URLs: an IPv6 address gets brackets."""
    try:
        return f"[{IPv6Address(address.strip('[]'))}]"
    except ValueError:
        return address
