"""One list of networks says where nothing is sent, for customers and for webhooks."""

from ipaddress import ip_address, ip_network

import pytest

from vpnkeys.domain.networks import FORBIDDEN_TO_WEBHOOKS, PRIVATE_NETWORKS, is_private, private_networks_without
from vpnkeys.domain.webhook import refusal_reason


def test_customers_reach_nothing_that_webhooks_do_not() -> None:
    """Whatever is forbidden to both is written once."""
    for network in FORBIDDEN_TO_WEBHOOKS:
        for address in (str(network[0]), str(network[-1])):
            assert is_private(ip_address(address)), address
            assert refusal_reason(address, is_local=True), address


@pytest.mark.parametrize(
    "address",
    [
        "100.100.100.200", "168.63.129.16", "169.254.169.254", "192.0.0.192", "fd00:42::42", "fd00:a9fe:a9fe::1",
        "fd00:c1::a9fe:a9fe", "fd00:ec2::23", "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe",
    ],
)  # fmt: skip
def test_metadata_of_clouds_is_for_nobody(address: str) -> None:
    """Wherever a cloud has it: what is there gives out the host's credentials."""
    assert is_private(ip_address(address))
    assert refusal_reason(address, is_local=False)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::1"])
def test_webhooks_may_go_where_only_the_operator_is(address: str) -> None:
    """To the operator's own networks and, when the URL says so, to this machine."""
    assert is_private(ip_address(address))
    assert not refusal_reason(address, is_local=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "99.255.255.255", "172.32.0.1"])
def test_the_internet_is_open_to_both(address: str) -> None:
    """Just beside the forbidden ranges too."""
    assert not is_private(ip_address(address))
    assert not refusal_reason(address, is_local=False)


def test_no_network_is_part_of_another() -> None:
    """Nftables refuses such a set."""
    networks = [ip_network(name) for name in PRIVATE_NETWORKS]
    for one in networks:
        assert not any(one != other and one.overlaps(other) for other in networks), one


def test_what_is_allowed_is_left_out_exactly() -> None:
    """A part of a network leaves the rest of it; a network around several leaves none of them."""
    assert private_networks_without([]) == PRIVATE_NETWORKS
    left = [ip_network(name) for name in private_networks_without(["10.1.0.0/16", "fc00::/6", "8.8.8.8/32"])]
    assert not any(ip_address("10.1.255.255") in network for network in left)
    assert any(ip_address("10.0.255.255") in network for network in left)
    assert any(ip_address("10.2.0.0") in network for network in left)
    assert not any(ip_address("fd00::1") in network for network in left)
