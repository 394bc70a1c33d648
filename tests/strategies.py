"""What Hypothesis makes: keys, inbounds, sites, and states of the world that have drifted in every way."""

from dataclasses import replace
from datetime import datetime

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from vpnkeys.domain.inbound import (
    AnyInbound,
    ForeignInbound,
    Inbound,
    Reality,
    ServerIdentity,
    VlessClient,
    desired_inbounds,
)
from vpnkeys.domain.key import VISION, Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.domain.plan import FileState, FileView, Observed, RunningView
from vpnkeys.domain.reality import UNLIMITED, FallbackLimit, Fingerprint, encode_key

names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128).map(str.strip).filter(bool)
"""Names that are accepted as they stand."""

uuids = st.uuids(version=4).map(str)
ports = st.integers(1, 65535)
short_ids = st.binary(min_size=8, max_size=8).map(bytes.hex)
private_keys = st.binary(min_size=32, max_size=32).map(encode_key)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 - UTC without an offset, as everywhere

_labels = st.sampled_from(["a", "www", "0", "x-1", "xn--p1ai", "news", "l" * 63])
_domains = st.sampled_from(["example.com", "example.org", "a.bc", "xn--e1afmkfd.xn--p1ai", "1and1.co"])
server_names = st.builds("{}.{}".format, _labels, _domains) | _domains

_ipv4 = st.ip_addresses(v=4).map(str)
# An IPv4-mapped address is the IPv4 address to Xray, which is another value to us.
_ipv6 = st.ip_addresses(v=6).map(str).filter(lambda address: not address.startswith("::ffff:"))
addresses = _ipv4 | _ipv6
targets = st.builds("{}:{}".format, server_names | _ipv4 | _ipv6.map("[{}]".format), ports)


notes = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), max_size=60)
windows = st.one_of(
    st.sampled_from(["total", "day", "week", "month"]),
    st.integers(1, 31).map("month@{}".format),
    st.integers(1, 90).map("{}d".format),
).map(Window)
limits = st.builds(
    Limits,
    expires_at=st.none() | times,
    traffic_bytes=st.none() | st.integers(1, 10**18),
    traffic_window=windows,
    max_devices=st.none() | st.integers(1, 1000),
    speed_mbps=st.none() | st.integers(1, 100_000),
    expires_after_s=st.none() | st.integers(1, 3_153_600_000),
)


def keys(port: SearchStrategy[int] = ports, sni: SearchStrategy[str] = server_names) -> SearchStrategy[Key]:
    """A key."""
    return st.builds(
        Key,
        id=uuids,
        name=names,
        uuid=uuids,
        created_at=times,
        is_active=st.booleans(),
        port=port,
        short_id=short_ids,
        sni=sni,
        flow=st.sampled_from([VISION, ""]),
        port_assigned_at=st.none() | times,
        note=notes,
        limits=limits,
        limit_status=st.sampled_from([Status.ACTIVE, Status.ACTIVE, Status.EXPIRED, Status.LIMITED]),
        fingerprint=st.none() | st.sampled_from(Fingerprint),
    )


def key_lists(
    port: SearchStrategy[int] = ports, sni: SearchStrategy[str] = server_names, max_size: int = 4
) -> SearchStrategy[list[Key]]:
    """Keys that can be in one database together."""
    unique = (lambda key: key.id, lambda key: key.uuid, lambda key: key.port, lambda key: key.short_id)
    return st.lists(keys(port, sni), max_size=max_size, unique_by=unique)


sites = st.builds(
    ServerIdentity,
    listen=addresses,
    private_key=private_keys,
    socket_dir=st.just("/run/vpnkeys"),
    server_names=st.lists(server_names, min_size=1, max_size=3, unique=True).map(tuple),
    forced_target=st.just("") | targets,
)

clients = st.builds(VlessClient, uuid=uuids, email=uuids | st.just(""), flow=st.sampled_from(["", VISION]))
_versions = st.lists(st.integers(0, 255), min_size=3, max_size=3).map(lambda parts: ".".join(map(str, parts)))

_limits = st.just(UNLIMITED) | st.builds(
    FallbackLimit, after_bytes=st.integers(0, 2**40), bytes_per_s=st.integers(1, 2**40)
)

realities = st.builds(
    Reality,
    target=targets,
    server_names=st.lists(server_names, min_size=1, max_size=3, unique=True).map(tuple),
    private_key=private_keys,
    short_ids=st.lists(short_ids, min_size=1, max_size=3, unique=True).map(tuple),
    min_client_version=st.just("0.0.0") | _versions,
    fallback_up=_limits,
    fallback_down=_limits,
)

_client_lists = st.lists(clients, min_size=1, max_size=3, unique_by=(lambda c: c.uuid, lambda c: c.email)).map(tuple)


def inbounds(
    listen: SearchStrategy[str] = addresses,
    port: SearchStrategy[int] = ports,
    reality: SearchStrategy[Reality] = realities,
) -> SearchStrategy[Inbound]:
    """An inbound of our form, on a TCP port or a Unix socket; more than ours ever says, to be sure."""
    tags = uuids.map("key-{}".format) | server_names.map("warm-{}".format)
    on_port = st.builds(Inbound, tag=tags, listen=listen, port=port, clients=_client_lists, reality=reality)
    sockets = uuids.map("/run/vpnkeys/{}.sock,0600".format)
    on_socket = st.builds(Inbound, tag=tags, listen=sockets, port=st.none(), clients=_client_lists, reality=reality)
    return on_port | on_socket


foreign_inbounds = st.builds(
    ForeignInbound, tag=uuids.map("operator-{}".format) | st.just(""), port=st.integers(20000, 30000)
)


@st.composite
def desired_states(draw: DrawFn) -> tuple[Inbound, ...]:
    """What some database wants."""
    site = draw(sites)
    ours = draw(key_lists(st.integers(10001, 10008), st.sampled_from(site.server_names)))
    return desired_inbounds(ours, site)


@st.composite
def altered(draw: DrawFn, inbound: Inbound) -> AnyInbound:
    """The inbound with its tag and anything else in it wrong."""
    reality = inbound.reality
    other: SearchStrategy[AnyInbound] = st.one_of(
        st.just(ForeignInbound(inbound.tag, inbound.port)),
        st.just(ForeignInbound(inbound.tag, inbound.port, uuids=tuple(client.uuid for client in inbound.clients))),
        ports.map(lambda port: replace(inbound, port=port)),
        addresses.map(lambda listen: replace(inbound, listen=listen)),
        clients.map(lambda client: replace(inbound, clients=(client,))),
        clients.map(lambda client: replace(inbound, clients=(*inbound.clients, client))),
        short_ids.map(lambda short_id: replace(inbound, reality=replace(reality, short_ids=(short_id,)))),
        targets.map(lambda target: replace(inbound, reality=replace(reality, target=target))),
        server_names.map(lambda name: replace(inbound, reality=replace(reality, server_names=(name,)))),
        private_keys.map(lambda key: replace(inbound, reality=replace(reality, private_key=key))),
    )
    return draw(other.filter(lambda found: found != inbound))


@st.composite
def drifted(draw: DrawFn, desired: tuple[Inbound, ...]) -> dict[str, AnyInbound]:
    """The inbounds after somebody's hand: some gone, some altered, some new, in any order."""
    found: list[AnyInbound] = []
    for inbound in desired:
        fate = draw(st.sampled_from(["kept", "kept", "gone", "altered", "renamed"]))
        if fate == "kept":
            found.append(inbound)
        elif fate == "altered":
            found.append(draw(altered(inbound)))
        elif fate == "renamed":
            found.append(replace(inbound, tag=f"key-{draw(uuids)}"))
    # Strangers, some of them on a port that one of ours has.
    found += draw(st.lists(inbounds(port=st.integers(10001, 10008)), max_size=2))
    return {inbound.tag: inbound for inbound in draw(st.permutations(found))}


@st.composite
def file_views(draw: DrawFn, desired: tuple[Inbound, ...], foreign: tuple[ForeignInbound, ...]) -> FileView:
    """A config.json in any condition."""
    state = draw(st.sampled_from([FileState.OK, FileState.OK, FileState.OK, FileState.MISSING, FileState.INVALID]))
    if state is not FileState.OK:
        return FileView(state, {}, problem="broken")
    right = {inbound.tag: inbound for inbound in desired}
    return FileView(state, draw(st.just(right) | drifted(desired)), foreign, draw(st.booleans()))


@st.composite
def observed_states(draw: DrawFn, desired: tuple[Inbound, ...]) -> Observed:
    """A world that should be `desired` and is anything."""
    foreign = tuple(draw(st.lists(foreign_inbounds, max_size=2, unique_by=lambda inbound: inbound.tag)))
    file = draw(file_views(desired, foreign))
    if draw(st.integers(0, 4)) == 0:
        return Observed(file, None)
    right: dict[str, AnyInbound] = {inbound.tag: inbound for inbound in desired}
    ours = draw(st.just(right) | drifted(desired))
    return Observed(file, RunningView({**ours, **{inbound.tag: inbound for inbound in foreign}}, "life-1"))
