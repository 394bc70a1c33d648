"""Converts inbounds to and from the protobuf messages of Xray's gRPC API.

`render` returns byte for byte what `xray convert pb` makes of `pieces.render_inbound`; a contract test compares them.
A malformed message can end the whole Xray: a short id under 8 bytes panics it (26.3.27). So only validated domain
values are rendered here.
"""

from ipaddress import ip_address
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from vpnkeys.domain.inbound import AnyInbound, ForeignInbound, Inbound, Reality, VlessClient
from vpnkeys.domain.reality import SHORT_ID_HEX_DIGITS, FallbackLimit, decode_key, encode_key
from vpnkeys.xray.config.proto import xray_pb2 as pb

# The bare full names, without "type.googleapis.com/": Xray's TypedMessage is not protobuf's Any.
_RECEIVER = "xray.app.proxyman.ReceiverConfig"
_REALITY = "xray.transport.internet.reality.Config"
_VLESS = "xray.proxy.vless.inbound.Config"
_ACCOUNT = "xray.proxy.vless.Account"

M = TypeVar("M", bound=Message)


def render(inbound: Inbound) -> pb.InboundHandlerConfig:
    """Return the message that adds this inbound."""
    return pb.InboundHandlerConfig(
        tag=inbound.tag,
        receiver_settings=_typed(_RECEIVER, _receiver(inbound)),
        proxy_settings=_typed(_VLESS, _vless(inbound.clients)),
    )


def parse(message: pb.InboundHandlerConfig) -> AnyInbound:
    """Return the inbound that a message describes; a ForeignInbound when it has anything that `render` would not."""
    inbound = _parse(message)
    return inbound if isinstance(inbound, ForeignInbound) or _is_rendered(inbound, message) else _as_foreign(inbound)


def _is_rendered(inbound: Inbound, message: pb.InboundHandlerConfig) -> bool:
    try:
        return _same(render(inbound), message)
    except ValueError:
        return False  # an operator's inbound may have values that ours never have, such as no minClientVer


def _typed(name: str, message: Message) -> pb.TypedMessage:
    return pb.TypedMessage(type=name, value=message.SerializeToString(deterministic=True))


def _receiver(inbound: Inbound) -> pb.ReceiverConfig:
    stream = pb.StreamConfig(
        protocol_name="tcp",
        security_type=_REALITY,
        security_settings=[_typed(_REALITY, _reality(inbound.reality))],
    )
    # Xray carries the path of a Unix socket in the field for domains.
    if inbound.port is None:
        return pb.ReceiverConfig(listen=pb.IPOrDomain(domain=inbound.listen), stream_settings=stream)
    return pb.ReceiverConfig(
        port_list=pb.PortList(range=[pb.PortRange(from_port=inbound.port, to_port=inbound.port)]),
        listen=pb.IPOrDomain(ip=ip_address(inbound.listen).packed),
        stream_settings=stream,
    )


def _reality(reality: Reality) -> pb.RealityConfig:
    return pb.RealityConfig(
        dest=reality.target,
        type="tcp",
        server_names=reality.server_names,
        private_key=decode_key(reality.private_key),
        min_client_ver=bytes(int(part) for part in reality.min_client_version.split(".")),
        short_ids=[_short_id(short_id) for short_id in reality.short_ids],
        # Never left out, as by the converter: a field that is set and one that is not are different bytes.
        limit_fallback_upload=_limit(reality.fallback_up),
        limit_fallback_download=_limit(reality.fallback_down),
    )


def _limit(limit: FallbackLimit) -> pb.LimitFallback:
    return pb.LimitFallback(after_bytes=limit.after_bytes, bytes_per_sec=limit.bytes_per_s)


def _short_id(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != SHORT_ID_HEX_DIGITS // 2:
        msg = f"a short id of {len(raw)} bytes would panic Xray"
        raise ValueError(msg)
    return raw


def _vless(clients: tuple[VlessClient, ...]) -> pb.VlessInboundConfig:
    return pb.VlessInboundConfig(
        clients=[
            pb.User(email=client.email, account=_typed(_ACCOUNT, pb.VlessAccount(id=client.uuid, flow=client.flow)))
            for client in clients
        ],
        decryption="none",
    )


def _parse(message: pb.InboundHandlerConfig) -> AnyInbound:
    try:
        receiver = _unpack(pb.ReceiverConfig, _RECEIVER, message.receiver_settings)
        clients = _parse_clients(_unpack(pb.VlessInboundConfig, _VLESS, message.proxy_settings))
        reality = _parse_reality(_unpack(pb.RealityConfig, _REALITY, receiver.stream_settings.security_settings[0]))
        if receiver.HasField("port_list"):
            listen, port = str(ip_address(receiver.listen.ip)), receiver.port_list.range[0].from_port
        else:
            listen, port = receiver.listen.domain, None
    except (DecodeError, IndexError, ValueError):
        return ForeignInbound(tag=message.tag, port=_port(message))
    return Inbound(tag=message.tag, listen=listen, port=port, clients=clients, reality=reality)


def _parse_clients(vless: pb.VlessInboundConfig) -> tuple[VlessClient, ...]:
    accounts = [(user.email, _unpack(pb.VlessAccount, _ACCOUNT, user.account)) for user in vless.clients]
    return tuple(VlessClient(uuid=account.id, email=email, flow=account.flow) for email, account in accounts)


def _parse_reality(reality: pb.RealityConfig) -> Reality:
    return Reality(
        target=reality.dest,
        server_names=tuple(reality.server_names),
        private_key=encode_key(reality.private_key),
        short_ids=tuple(short_id.hex() for short_id in reality.short_ids),
        min_client_version=".".join(str(part) for part in reality.min_client_ver),
        fallback_up=_parse_limit(reality.limit_fallback_upload),
        fallback_down=_parse_limit(reality.limit_fallback_download),
    )


def _parse_limit(limit: pb.LimitFallback) -> FallbackLimit:
    return FallbackLimit(limit.after_bytes, limit.bytes_per_sec)


def _as_foreign(inbound: Inbound) -> ForeignInbound:
    return ForeignInbound(
        tag=inbound.tag,
        port=inbound.port,
        protocol="vless",
        uuids=tuple(client.uuid for client in inbound.clients),
        short_ids=inbound.reality.short_ids,
        target=inbound.reality.target,
        server_names=inbound.reality.server_names,
    )


def _port(message: pb.InboundHandlerConfig) -> int | None:
    """Return the first port of any kind of inbound; None when it has none."""
    try:
        receiver = pb.ReceiverConfig.FromString(message.receiver_settings.value)
        return receiver.port_list.range[0].from_port or None
    except (DecodeError, IndexError):
        return None


def _unpack(kind: type[M], name: str, typed: pb.TypedMessage) -> M:
    if typed.type != name:
        msg = f"{typed.type} instead of {name}"
        raise ValueError(msg)
    return kind.FromString(typed.value)


def _same(one: Message, other: Message) -> bool:
    # As bytes, so that a field that this schema does not know makes a message different too.
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
