"""From keys to the inbounds that Xray should run."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import key_lists, keys, server_names, sites, targets

from vpnkeys.domain.inbound import ServerIdentity, desired_inbounds, key_inbound, warm_inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status


@given(keys(), sites)
def test_an_inbound_says_what_its_key_says(key: Key, site: ServerIdentity) -> None:
    """One port, one client, one short id, one server name: nobody else gets in there."""
    inbound = key_inbound(key, site)
    (client,) = inbound.clients
    assert (inbound.tag, inbound.listen, inbound.port) == (f"key-{key.id}", site.listen, key.port)
    assert (client.uuid, client.email, client.flow) == (key.uuid, key.uuid, key.flow)
    assert inbound.reality.server_names == (key.sni,)
    assert inbound.reality.private_key == site.private_key
    assert inbound.reality.short_ids == (key.short_id,)


@given(keys(), sites)
def test_short_ids_are_always_whole(key: Key, site: ServerIdentity) -> None:
    """Imported keys may have a shorter one; under 8 bytes it would panic the whole Xray."""
    inbound = key_inbound(replace(key, short_id=key.short_id[:6]), site)
    assert inbound.reality.short_ids == (key.short_id[:6] + "0" * 10,)


@given(server_names, sites, targets)
def test_every_server_name_has_its_own_target(name: str, site: ServerIdentity, forced: str) -> None:
    """A shared target would answer with a foreign certificate; only tests force one."""
    assert replace(site, forced_target="").target(name) == f"{name}:443"
    assert replace(site, forced_target=forced).target(name) == forced


@given(sites, st.data())
def test_a_warm_inbound_makes_xray_probe_what_keys_will_need(site: ServerIdentity, data: st.DataObject) -> None:
    """Same target and name as a key's inbound, and out of everybody's reach: a socket of its owner alone."""
    name = data.draw(st.sampled_from(site.server_names))
    key = data.draw(keys(sni=st.just(name)))
    warm, inbound = warm_inbound(name, site), key_inbound(key, site)
    assert (warm.reality.target, warm.reality.server_names) == (inbound.reality.target, inbound.reality.server_names)
    assert warm.port is None
    assert warm.listen.startswith(f"{site.socket_dir}/")
    assert warm.listen.endswith(".sock,0600")
    assert UUID(warm.clients[0].uuid).version == 4


@given(sites)
def test_warm_inbounds_are_distinct_and_steady(site: ServerIdentity) -> None:
    """Each has its own place and its own secret, the same after every restart: else it would always be drift."""
    warm = [warm_inbound(name, site) for name in site.server_names]
    assert warm == [warm_inbound(name, site) for name in site.server_names]
    for what in ({i.tag for i in warm}, {i.listen for i in warm}, {i.clients for i in warm}):
        assert len(what) == len(warm)


@given(sites, server_names)
def test_nobody_can_guess_a_warm_inbounds_secret(site: ServerIdentity, name: str) -> None:
    """It hangs on the server's private key."""
    other = replace(site, private_key="B" + site.private_key[1:] if site.private_key[0] != "B" else "A" * 43)
    name = site.server_names[0]
    assert warm_inbound(name, site).clients != warm_inbound(name, other).clients
    assert warm_inbound(name, site).reality.short_ids != warm_inbound(name, other).reality.short_ids


@given(sites, st.data())
def test_what_should_run(site: ServerIdentity, data: st.DataObject) -> None:
    """A warm inbound for each server name, then each active key by port, whatever the order in the database."""
    ours = data.draw(key_lists(sni=st.sampled_from(site.server_names)))
    desired = desired_inbounds(ours, site)
    active = sorted((key for key in ours if key.status is Status.ACTIVE), key=lambda key: key.port)
    assert [i.tag for i in desired] == [f"warm-{name}" for name in site.server_names] + [key.tag for key in active]
    assert desired == desired_inbounds(data.draw(st.permutations(ours)), site)


@given(keys(), sites)
def test_the_private_key_stays_out_of_logs(key: Key, site: ServerIdentity) -> None:
    """Printing a site or an inbound does not print the secret of all links."""
    assert site.private_key not in repr(site)
    assert site.private_key not in repr(desired_inbounds([key], replace(site, server_names=(key.sni,))))
