"""A key's link carries traffic, whole, through clients of two makers; anything but the exact link carries nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.clients import Client
from tests.support.keys import Key, carries, carrying, delete_key, link_of, list_keys, make_key
from tests.support.link import VlessLink
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer

pytestmark = pytest.mark.e2e

NAMES = (
    "me",
    "user@example.com",
    "Ключ для мамы",
    "🦄 → 👩‍👩‍👧",
    "#?&%",
    "a=b&c=d#e?f/g\\h%2Fi%00+j",
    "名前 ключ clé مفتاح",
    "<b>\"quoted\" & 'single'</b>; --",
    "100% sure?! (yes*~.)",
    "я" * 128,
)
UP_BYTES, DOWN_BYTES = 300_007, 700_001
REFUSED_WITHIN_S = 6.0


@pytest.fixture(scope="module")
def keys(service: Service) -> list[Key]:
    """Ten keys, one a name, that do not all have the same SNI."""
    made = [make_key(service, name) for name in NAMES]
    while len({key["sni"] for key in made}) < 2:
        delete_key(service, made[-1])
        made[-1] = make_key(service, NAMES[-1])
    return made


@pytest.fixture(scope="module")
def links(service: Service, keys: list[Key]) -> list[VlessLink]:
    """The keys' links, as their customers get them."""
    return [link_of(service, key) for key in keys]


@pytest.fixture(scope="module")
def client(client_type: type[Client], links: list[VlessLink]) -> Iterator[Client]:
    """A client of one maker on all ten links."""
    with client_type.many(links) as client:
        yield client


def test_every_key_carries_every_byte(client: Client, byte_server: ByteServer) -> None:
    """Bytes of known length arrive unchanged in both directions, through each of ten keys."""
    for number, proxy in enumerate(client.proxies):
        with byte_server.open(proxy) as sock:
            moved = transfer(sock, UP_BYTES + number, DOWN_BYTES + number, seed=number)
        assert (moved.up_bytes, moved.down_bytes) == (UP_BYTES + number, DOWN_BYTES + number)


def test_every_key_carries_tls(client: Client, tls_byte_server: ByteServer) -> None:
    """What a browser sends, TLS 1.3, arrives unchanged as well: Vision passes it on in another way."""
    for number, proxy in enumerate(client.proxies):
        with tls_byte_server.open(proxy) as sock:
            transfer(sock, UP_BYTES + number, DOWN_BYTES + number, seed=100 + number)


def test_any_wrong_part_is_refused(
    client_type: type[Client], keys: list[Key], links: list[VlessLink], byte_server: ByteServer
) -> None:
    """The right UUID with another key's short id, SNI or port, or with all of another key's, gets nothing."""
    one = links[0]
    other = next(link for link in links if link.sni != one.sni)
    forged = {
        "short_id": replace(one, short_id=other.short_id),
        "sni": replace(one, sni=other.sni),
        "port": replace(one, port=other.port),
        "port and short_id": replace(one, port=other.port, short_id=other.short_id),
        "all but the uuid": replace(other, uuid=one.uuid),
    }
    with client_type.many([one, other, *forged.values()]) as client:
        right, also_right, *wrong = client.proxies
        carried = dict(zip(forged, carrying(wrong, byte_server, timeout=REFUSED_WITHIN_S), strict=True))
        assert carried == dict.fromkeys(forged, False)
        assert carries(right, byte_server)
        assert carries(also_right, byte_server)


def test_names_come_back_whole(service: Service, keys: list[Key], links: list[VlessLink]) -> None:
    """A name of any script and any sign is the same in the answer, in the list, alone, and in the link."""
    listed = {key["id"]: key["name"] for key in list_keys(service)}
    for name, key, link in zip(NAMES, keys, links, strict=True):
        alone = service.client.get(f"/api/keys/{key['uuid']}").json()
        assert [key["name"], listed[key["id"]], alone["name"], link.name] == [name] * 4


def test_the_link_is_the_key(keys: list[Key], links: list[VlessLink]) -> None:
    """UUID, port, short id and SNI of the link are those of the key."""
    for key, link in zip(keys, links, strict=True):
        said = (link.uuid, link.port, link.short_id, link.sni)
        assert said == (key["uuid"], key["port"], key["short_id"], key["sni"])
