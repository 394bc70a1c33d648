from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TypedMessage(_message.Message):
    __slots__ = ("type", "value")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type: str
    value: bytes
    def __init__(self, type: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("email", "account")
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    email: str
    account: TypedMessage
    def __init__(self, email: _Optional[str] = ..., account: _Optional[_Union[TypedMessage, _Mapping]] = ...) -> None: ...

class IPOrDomain(_message.Message):
    __slots__ = ("ip", "domain")
    IP_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ip: bytes
    domain: str
    def __init__(self, ip: _Optional[bytes] = ..., domain: _Optional[str] = ...) -> None: ...

class PortRange(_message.Message):
    __slots__ = ("from_port", "to_port")
    FROM_PORT_FIELD_NUMBER: _ClassVar[int]
    TO_PORT_FIELD_NUMBER: _ClassVar[int]
    from_port: int
    to_port: int
    def __init__(self, from_port: _Optional[int] = ..., to_port: _Optional[int] = ...) -> None: ...

class PortList(_message.Message):
    __slots__ = ("range",)
    RANGE_FIELD_NUMBER: _ClassVar[int]
    range: _containers.RepeatedCompositeFieldContainer[PortRange]
    def __init__(self, range: _Optional[_Iterable[_Union[PortRange, _Mapping]]] = ...) -> None: ...

class InboundHandlerConfig(_message.Message):
    __slots__ = ("tag", "receiver_settings", "proxy_settings")
    TAG_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PROXY_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    tag: str
    receiver_settings: TypedMessage
    proxy_settings: TypedMessage
    def __init__(self, tag: _Optional[str] = ..., receiver_settings: _Optional[_Union[TypedMessage, _Mapping]] = ..., proxy_settings: _Optional[_Union[TypedMessage, _Mapping]] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("protocol_name", "security_type", "security_settings")
    PROTOCOL_NAME_FIELD_NUMBER: _ClassVar[int]
    SECURITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    SECURITY_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    protocol_name: str
    security_type: str
    security_settings: _containers.RepeatedCompositeFieldContainer[TypedMessage]
    def __init__(self, protocol_name: _Optional[str] = ..., security_type: _Optional[str] = ..., security_settings: _Optional[_Iterable[_Union[TypedMessage, _Mapping]]] = ...) -> None: ...

class ReceiverConfig(_message.Message):
    __slots__ = ("port_list", "listen", "stream_settings")
    PORT_LIST_FIELD_NUMBER: _ClassVar[int]
    LISTEN_FIELD_NUMBER: _ClassVar[int]
    STREAM_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    port_list: PortList
    listen: IPOrDomain
    stream_settings: StreamConfig
    def __init__(self, port_list: _Optional[_Union[PortList, _Mapping]] = ..., listen: _Optional[_Union[IPOrDomain, _Mapping]] = ..., stream_settings: _Optional[_Union[StreamConfig, _Mapping]] = ...) -> None: ...

class LimitFallback(_message.Message):
    __slots__ = ("after_bytes", "bytes_per_sec")
    AFTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SEC_FIELD_NUMBER: _ClassVar[int]
    after_bytes: int
    bytes_per_sec: int
    def __init__(self, after_bytes: _Optional[int] = ..., bytes_per_sec: _Optional[int] = ...) -> None: ...

class RealityConfig(_message.Message):
    __slots__ = ("dest", "type", "server_names", "private_key", "min_client_ver", "short_ids", "limit_fallback_upload", "limit_fallback_download")
    DEST_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAMES_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_KEY_FIELD_NUMBER: _ClassVar[int]
    MIN_CLIENT_VER_FIELD_NUMBER: _ClassVar[int]
    SHORT_IDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FALLBACK_UPLOAD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FALLBACK_DOWNLOAD_FIELD_NUMBER: _ClassVar[int]
    dest: str
    type: str
    server_names: _containers.RepeatedScalarFieldContainer[str]
    private_key: bytes
    min_client_ver: bytes
    short_ids: _containers.RepeatedScalarFieldContainer[bytes]
    limit_fallback_upload: LimitFallback
    limit_fallback_download: LimitFallback
    def __init__(self, dest: _Optional[str] = ..., type: _Optional[str] = ..., server_names: _Optional[_Iterable[str]] = ..., private_key: _Optional[bytes] = ..., min_client_ver: _Optional[bytes] = ..., short_ids: _Optional[_Iterable[bytes]] = ..., limit_fallback_upload: _Optional[_Union[LimitFallback, _Mapping]] = ..., limit_fallback_download: _Optional[_Union[LimitFallback, _Mapping]] = ...) -> None: ...

class VlessAccount(_message.Message):
    __slots__ = ("id", "flow")
    ID_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    id: str
    flow: str
    def __init__(self, id: _Optional[str] = ..., flow: _Optional[str] = ...) -> None: ...

class VlessInboundConfig(_message.Message):
    __slots__ = ("clients", "decryption")
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    DECRYPTION_FIELD_NUMBER: _ClassVar[int]
    clients: _containers.RepeatedCompositeFieldContainer[User]
    decryption: str
    def __init__(self, clients: _Optional[_Iterable[_Union[User, _Mapping]]] = ..., decryption: _Optional[str] = ...) -> None: ...

class AddInboundRequest(_message.Message):
    __slots__ = ("inbound",)
    INBOUND_FIELD_NUMBER: _ClassVar[int]
    inbound: InboundHandlerConfig
    def __init__(self, inbound: _Optional[_Union[InboundHandlerConfig, _Mapping]] = ...) -> None: ...

class RemoveInboundRequest(_message.Message):
    __slots__ = ("tag",)
    TAG_FIELD_NUMBER: _ClassVar[int]
    tag: str
    def __init__(self, tag: _Optional[str] = ...) -> None: ...

class ListInboundsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListInboundsResponse(_message.Message):
    __slots__ = ("inbounds",)
    INBOUNDS_FIELD_NUMBER: _ClassVar[int]
    inbounds: _containers.RepeatedCompositeFieldContainer[InboundHandlerConfig]
    def __init__(self, inbounds: _Optional[_Iterable[_Union[InboundHandlerConfig, _Mapping]]] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryStatsRequest(_message.Message):
    __slots__ = ("pattern", "reset")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    reset: bool
    def __init__(self, pattern: _Optional[str] = ..., reset: _Optional[bool] = ...) -> None: ...

class Stat(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class QueryStatsResponse(_message.Message):
    __slots__ = ("stat",)
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: _containers.RepeatedCompositeFieldContainer[Stat]
    def __init__(self, stat: _Optional[_Iterable[_Union[Stat, _Mapping]]] = ...) -> None: ...

class SysStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SysStatsResponse(_message.Message):
    __slots__ = ("num_goroutine", "alloc", "sys", "uptime_s")
    NUM_GOROUTINE_FIELD_NUMBER: _ClassVar[int]
    ALLOC_FIELD_NUMBER: _ClassVar[int]
    SYS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    num_goroutine: int
    alloc: int
    sys: int
    uptime_s: int
    def __init__(self, num_goroutine: _Optional[int] = ..., alloc: _Optional[int] = ..., sys: _Optional[int] = ..., uptime_s: _Optional[int] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ("name", "reset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    name: str
    reset: bool
    def __init__(self, name: _Optional[str] = ..., reset: _Optional[bool] = ...) -> None: ...

class OnlineIpList(_message.Message):
    __slots__ = ("name", "ips")
    class IpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ips: _containers.ScalarMap[str, int]
    def __init__(self, name: _Optional[str] = ..., ips: _Optional[_Mapping[str, int]] = ...) -> None: ...

class AllOnlineUsersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AllOnlineUsersResponse(_message.Message):
    __slots__ = ("users",)
    USERS_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, users: _Optional[_Iterable[str]] = ...) -> None: ...
