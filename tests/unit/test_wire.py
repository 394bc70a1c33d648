"""The protobuf that Xray's API speaks: inverses, and no message that could break anything on this side."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import inbounds

from vpnkeys.domain.inbound import ForeignInbound, Inbound
from vpnkeys.xray.config import protobuf as wire
from vpnkeys.xray.config.proto import xray_pb2 as pb


@given(inbounds())
def test_render_and_parse_are_inverses(inbound: Inbound) -> None:
    """What Xray lists of an inbound that it was given compares equal to it, field by field."""
    message = wire.render(inbound)
    assert wire.parse(message) == inbound
    assert wire.parse(pb.InboundHandlerConfig.FromString(message.SerializeToString())) == inbound


@given(inbounds(), inbounds())
def test_different_inbounds_are_different_messages(one: Inbound, other: Inbound) -> None:
    """Nothing of an inbound is lost on the way."""
    same = wire.render(one).SerializeToString() == wire.render(other).SerializeToString()
    assert same == (one == other)


@given(inbounds(), st.binary(min_size=1, max_size=8))
def test_what_is_not_known_makes_an_inbound_foreign(inbound: Inbound, value: bytes) -> None:
    """A field that we would not have sent is a difference, even one that this version has never heard of."""
    message = wire.render(inbound)
    # Field 2047, length-delimited.
    raw = message.SerializeToString() + b"\xfa\x7f" + bytes([len(value)]) + value
    found = wire.parse(pb.InboundHandlerConfig.FromString(raw))
    assert isinstance(found, ForeignInbound)
    assert (found.tag, found.port) == (inbound.tag, inbound.port)
    assert found.uuids == tuple(client.uuid for client in inbound.clients)


def _with_reality(inbound: Inbound, reality: pb.RealityConfig) -> pb.InboundHandlerConfig:
    """The message of an inbound whose REALITY settings are these."""
    message = wire.render(inbound)
    receiver = pb.ReceiverConfig.FromString(message.receiver_settings.value)
    receiver.stream_settings.security_settings[0].value = reality.SerializeToString()
    message.receiver_settings.value = receiver.SerializeToString()
    return message


@given(
    inbounds(),
    st.builds(
        pb.RealityConfig,
        dest=st.text(max_size=5),
        server_names=st.lists(st.text(max_size=5), max_size=2),
        private_key=st.binary(max_size=40),
        min_client_ver=st.binary(max_size=4),
        short_ids=st.lists(st.binary(max_size=10), max_size=2),
    ),
)
def test_an_operators_reality_inbound_is_only_looked_at(inbound: Inbound, reality: pb.RealityConfig) -> None:
    """Their own VLESS inbounds may have no minClientVer, any key, any short ids: they are foreign, not a fault."""
    found = wire.parse(_with_reality(inbound, reality))
    assert isinstance(found, ForeignInbound)
    assert found.tag == inbound.tag
    assert found.port == inbound.port
    assert found.target == reality.dest


@given(inbounds(), st.binary(max_size=30), st.sampled_from(["receiver_settings", "proxy_settings"]))
def test_any_bytes_can_be_listed(inbound: Inbound, noise: bytes, part: str) -> None:
    """Whatever an inbound says that is not for us to read, it is told by its tag."""
    message = wire.render(inbound)
    getattr(message, part).value = noise
    assert wire.parse(message).tag == inbound.tag


@given(inbounds(), st.text(max_size=20), st.sampled_from(["receiver_settings", "proxy_settings"]))
def test_other_protocols_are_foreign(inbound: Inbound, kind: str, part: str) -> None:
    """A Shadowsocks inbound is not one of ours with odd settings."""
    message = wire.render(inbound)
    getattr(message, part).type = f"xray.{kind}"
    assert isinstance(wire.parse(message), ForeignInbound)


@given(inbounds())
def test_a_range_of_ports_is_not_its_first_port(inbound: Inbound) -> None:
    """10001-10002 is not 10001."""
    message = wire.render(replace(inbound, listen="0.0.0.0", port=10001))  # noqa: S104 - never listened on
    receiver = pb.ReceiverConfig.FromString(message.receiver_settings.value)
    receiver.port_list.range[0].to_port = 10002
    message.receiver_settings.value = receiver.SerializeToString()
    found = wire.parse(message)
    assert isinstance(found, ForeignInbound)
    assert found.port == 10001


@given(inbounds(), st.text("0123456789abcdefg", max_size=20).filter(lambda text: len(text) != 16 or "g" in text))
def test_what_is_no_whole_short_id_is_not_sent(inbound: Inbound, short_id: str) -> None:
    """A malformed message can kill the whole Xray, so it is stopped here."""
    with pytest.raises(ValueError, match=r"short id|fromhex"):
        wire.render(replace(inbound, reality=replace(inbound.reality, short_ids=(short_id,))))
