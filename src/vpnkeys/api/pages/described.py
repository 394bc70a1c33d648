"""Completes the OpenAPI document: a sentence and an example for each property, parameter and operation.

A name means the same wherever it is, so that one row here describes it in all answers; `Model.name` is for the few that
differ, and `?.name` for parameters. What a field says of itself comes first.
"""

from typing import Any

Schema = dict[str, Any]

_ID, _UUID = "3f1c0c52-6d3e-4b7e-9a53-0f5a5f6f1c11", "0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10"
_LINK = (
    f"vless://{_UUID}@203.0.113.10:10001?security=reality&encryption=none&sni=www.nvidia.com&fp=chrome&pbk=public-key"
    "&sid=5f9c2b7adfe7d8ab&type=tcp&flow=xtls-rprx-vision#user%40example.com"
)
_TAG, _SHORT_ID, _OTHER_SHORT_ID = f"key-{_ID}", "5f9c2b7adfe7d8ab", "0123abcd0123abcd"
_HOOK = "https://example.com/vpnkeys"

FIELDS: dict[str, tuple[str, Any]] = {
    "action": ("what was done", "key.changed"),
    "active_keys": ("how many active keys there are", 12),
    "actor": ("who did it: a token's name, `api-key`, `socket` or `server`", "bot"),
    "add": ("inbounds that would be added to the running Xray", None),
    "after": ("the fields that changed, as they are now", {"name": "Maria"}),
    "api_inbound": ("whether there is an inbound for Xray's own API", None),
    "api_inbounds": ("how many inbounds are for Xray's own API", 1),
    "attempts": ("how often it was tried", 1),
    "available_ports": ("how many ports are free", 88),
    "before": ("the fields that changed, as they were", {"name": "Mary"}),
    "bytes_received": ("how many bytes came back", 4096),
    "changed": ("the keys that get another port", None),
    "client_config": ("the link for the customer", _LINK),
    "client_count": ("how many UUIDs it lets in", 1),
    "code": ("a stable word for programs", "key_not_found"),
    "KeyTest.code": ("what was found, as a stable word", "ok"),
    "HealthProblem.code": ("a stable word for programs", "disk_low"),
    "config_count": ("how many keys config.json has", 25),
    "config_json_count": ("how many UUIDs of keys config.json has", 25),
    "config_json_uuids": ("the UUIDs of config.json", [_UUID]),
    "config_rewritten": ("whether config.json was written anew", None),
    "config_short_id": ("the short id in config.json", _OTHER_SHORT_ID),
    "config_status": ("a summary of config.json", None),
    "config_uuids": ("the UUIDs of config.json", [_UUID]),
    "config_valid": ("whether Xray accepts config.json", None),
    "cores": ("how many cores it has", 2),
    "cpu_percent": ("how busy all cores together were", 12.5),
    "csrf": ("to be sent as X-CSRF-Token with each change", "d3f1a0"),
    "cut": ("ports whose connections would end", [10001]),
    "days": ("how many days longer", 30),
    "db_short_id": ("the short id in the database", _SHORT_ID),
    "deleted": ("how many keys were deleted", 2),
    "delivered": ("whether the receiver answered 2xx", None),
    "detail": ("a sentence for people", "There is no key with this id or UUID."),
    "devices": ("how many devices are online", 1),
    "different": ("the UUIDs of keys whose settings differ", [_UUID]),
    "disk_bytes": ("the size of the file system of the data directory", 42949672960),
    "disk_free_bytes": ("how much of it is free", 21474836480),
    "down_bytes": ("bytes to the customer", 987654321),
    "down_rate": ("bytes a second to customers", 1250000.0),
    "duration_ms": ("how long the receiver took, in milliseconds", 41.5),
    "error": ("why it is not valid; empty when it is", ""),
    "event_id": ("the id of the event that was sent", _ID),
    "events": ("the kinds of events", ["key.limit_near", "key.expired"]),
    "exists": ("whether there is one", None),
    "expires_after_s": ("seconds from the first byte until it expires", 2592000),
    "extra": ("what should not be there, by UUID or tag", [_UUID]),
    "extra_in_config": ("UUIDs of config.json that no key has", [_UUID]),
    "file": ("what would change in config.json", None),
    "first_byte_ms": ("milliseconds to the first byte of the answer", 61.8),
    "fixed_count": ("how many short ids were put right", 0),
    "fixed_keys": ("the keys whose short ids were put right", None),
    "gaps": ("times in which bytes may have passed uncounted", None),
    "handshake_ms": ("milliseconds for TCP and REALITY", 12.4),
    "id": ("its id", _ID),
    "AuditRecord.id": ("the number of the record; it grows with time", 4711),
    "host": ("how busy the host is", None),
    "ids": ("ids or UUIDs of keys", [_ID]),
    "ignored_fields": ("fields of the request that were ignored", ["email"]),
    "in_sync": ("whether there is nothing to do", None),
    "inbounds": ("the VLESS inbounds of config.json", None),
    "is_active": ("whether it is switched on", None),
    "is_valid": ("whether it can be used now", None),
    "issues": ("what is wrong, a sentence each", ["port 10007 is not listening"]),
    "key": ("the key", None),
    "node": ("the node", None),
    "KeyRotation.uuid": ("another UUID", True),
    "KeyRotation.short_id": ("another short id", True),
    "KeyRotation.sni": ("another server name", True),
    "key_id": ("the id of the key", _ID),
    "key_ids": ("the ids of its keys", [_ID]),
    "key_name": ("the name of the key", "user@example.com"),
    "key_uuid": ("the UUID of the key", _UUID),
    "key_uuids": ("the UUIDs of the keys in the database", [_UUID]),
    "keys": ("the keys", None),
    "NewSubscription.keys": ("ids or UUIDs of keys", [_ID]),
    "OnlineNow.keys": ("how many keys are in use", 7),
    "keys_count": ("how many keys the database has", 25),
    "keys_json_count": ("how many keys the database has", 25),
    "keys_json_uuids": ("the UUIDs of the keys in the database", [_UUID]),
    "last_error": ("what went wrong at the last try; null: nothing", "the receiver answered 500"),
    "max_devices": ("how many devices may be online at once; null: any number", 2),
    "max_ports": ("how many ports the range has", 100),
    "memory_bytes": ("how much memory the host has", 2147483648),
    "memory_free_bytes": ("how much of it is free", 1073741824),
    "message": ("a sentence for people", "Key deleted successfully"),
    "missing": ("what is missing, by UUID or tag", [_UUID]),
    "missing_in_config": ("UUIDs of keys that config.json lacks", [_UUID]),
    "name": ("its name", "user@example.com"),
    "BackupFile.name": ("its name", "2026-11-29T03-00-00Z.vpnkeys"),
    "new_port": ("the port that it gets", 10001),
    "new_short_id": ("the short id that it has now", _SHORT_ID),
    "note": ("a note for yourself", "paid until June"),
    "old_port": ("the port that it has", 10007),
    "old_short_id": ("the short id that it had", _OTHER_SHORT_ID),
    "online": ("whether a device is online now", None),
    "origin": ("where the request came from", "198.51.100.7"),
    "points": ("what was counted, in order of time", None),
    "port": ("the TCP port", 10001),
    "Ports.port_assignments": ("which key has which port", None),
    "PortTable.port_assignments": ("the port of each key, by UUID", {}),
    "XrayConfigSummary.port_assignments": ("the UUID at each port", {"10001": _UUID}),
    "port_range": ("the range of ports for keys", "10001-10100"),
    "prefix": ("the beginning of its text, by which people recognise it", "vpnk_3f1c"),
    "problem": ("why config.json cannot be read; empty when it can", ""),
    "TargetState.problems": ("what is wrong with it", ["the certificate does not cover the name"]),
    "reachable": ("whether Xray answered", None),
    "remove": ("inbounds that would be removed from the running Xray", None),
    "repaired": ("the tags of repaired inbounds", [_TAG]),
    "request_id": ("the id of the request, as in the server's log", "b1946ac9"),
    "rewrite": ("whether config.json would be written anew", None),
    "running": ("whether Xray answers", None),
    "secret": ("signs what is sent; shown this once", "vpnk_hook_…"),
    "server_name": ("the name that clients send (SNI)", "www.nvidia.com"),
    "server_names": ("the names that clients may send (SNI)", ["www.nvidia.com"]),
    "server_names_ready": ("how many server names work now", 5),
    "service_version": ("the version of this program", "1.0.0"),
    "services": ("the parts of the server, each with its state", {"api": "running", "xray": "running"}),
    "settings": ("the settings that differ, by UUID or tag", {_UUID: ["port"]}),
    "short_id": ("the REALITY short id", _SHORT_ID),
    "short_id_mismatches": ("keys with another short id in config.json", None),
    "short_id_mismatches_count": ("how many they are", 0),
    "short_id_sync": ("the short ids that were put right", None),
    "short_id_synced": ("whether all short ids agree", None),
    "short_ids": ("the REALITY short ids", [_SHORT_ID]),
    "size_bytes": ("its size in bytes", 48213),
    "sni": ("the REALITY server name", "www.nvidia.com"),
    "source": ("where it was read", "config.json"),
    "speed_limit_mbps": ("Mbit/s (10^6 bits) each way; null: no limit", 100),
    "KeyMoved.old": ("where it has lived, and the link that ends", None),
    "KeyMoved.new": ("where it lives now, and the link that works", None),
    "NodeMoved.moved": ("the keys that have moved", None),
    "NodeMoved.failed": ("the keys that have stayed", None),
    "status": ("how it is, or how it ended", "success"),
    "Problem.status": ("the HTTP status", 404),
    "WebhookTried.status": ("the HTTP status of the receiver's answer; null: none came", 200),
    "self_signed": ("whether most apps refuse the address: the certificate is self-signed", False),
    "subject": ("the id of what was changed; empty for the server as a whole", _ID),
    "success": ("whether it succeeded", None),
    "synced": ("whether both sides agree", None),
    "synchronized": ("whether both sides agree", None),
    "tag": ("the tag of the inbound", _TAG),
    "target": ("where REALITY leads strangers, host:port", "www.nvidia.com:443"),
    "targets": ("the REALITY targets", None),
    "title": ("the name of the status", "Not Found"),
    "token": ("the API key or token", "vpnk_3f1c…"),
    "total_assignments": ("how many keys have a port", 25),
    "total_bytes": ("bytes since it was made or last reset, up and down together", 1234567),
    "total_config_clients": ("how many UUIDs config.json has", 25),
    "total_inbounds": ("how many inbounds config.json has", 26),
    "total_keys": ("how many keys the database has", 25),
    "total_used_ports": ("how many ports have a key", 25),
    "traffic_limit_bytes": ("bytes, up and down together; null: no limit", 50000000000),
    "type": ("always about:blank: `code` says what it is", "about:blank"),
    "up_rate": ("bytes a second from customers", 125000.0),
    "up_bytes": ("bytes from the customer", 12345678),
    "uptime_seconds": ("how long the server has run", 86400),
    "url": ("where events are sent", _HOOK),
    "SubscriptionMade.url": ("the address for the customer", "https://203.0.113.10:8000/sub/…"),
    "usable": ("whether customers get through by it", None),
    "Ports.used_ports": ("how many ports have a key", 12),
    "PortTable.used_ports": ("the key at each port; `NODE:PORT` where an older key has the same port elsewhere", {}),
    "uuid": ("the VLESS id", _UUID),
    "uuid_synced": ("whether config.json lets in exactly the keys of the database", None),
    "uuids": ("the VLESS ids that it lets in", [_UUID]),
    "valid": ("whether nothing is wrong", None),
    "validation": ("the comparison", None),
    "version": ("the version", "1.0.0"),
    "vless_inbounds": ("how many VLESS inbounds config.json has", 25),
    "vless_link": ("the link for the customer", _LINK),
    "vless_url": ("the link for the customer", _LINK),
    "warnings": ("what is wrong, a sentence each", ["www.nvidia.com does not answer"]),
    "xray_version": ("the version of Xray", "26.3.27"),
    # Parameters.
    "accept": ("which format of metrics is wanted", "text/plain"),
    "?.search": ("only keys with this in one of their texts, in any case", "maria"),
    "?.before": ("only records before this one", 4711),
    "force": ("restart in any case", None),
    "from": ("the beginning", "2026-11-01T00:00:00Z"),
    "idempotency-key": ("the same for each repetition of one request", "order-1017"),
    "limit": ("how many records at most", 100),
    "?.node": ("id or name of a node", "local"),
    "node_id": ("the id or the name of the node", "local"),
    "overlap_hours": ("for how many hours the old token goes on working", 24),
    "step": ("one point for each hour, or for each day, UTC", "day"),
    "subscription_id": ("the id of the subscription", _ID),
    "to": ("the end", "2026-12-01T00:00:00Z"),
    "token_id": ("the id of the token", "3f1c0c526d3e4b7e"),
    "webhook_id": ("the id of the webhook", _ID),
}
"""For each name a sentence and an example; None where the type has one: booleans, other objects, and single words."""


def complete(document: Schema) -> None:
    """Give each property, parameter and operation of the document what it lacks of sentence and example."""
    schemas: dict[str, Schema] = document["components"]["schemas"]
    for model, schema in schemas.items():
        for name, described in schema.get("properties", {}).items():
            _complete(described, model, name, schemas)
    for operation in (one for path in document["paths"].values() for one in path.values()):
        for parameter in operation.get("parameters", ()):
            _complete(parameter["schema"], "?", parameter["name"], schemas)
            parameter.setdefault("description", parameter["schema"]["description"])
            parameter.setdefault("example", example_of(parameter["schema"], schemas))
        for content in _contents(operation):
            if "example" not in content and content.get("schema"):
                content["example"] = example_of(content["schema"], schemas)


def _contents(operation: Schema) -> list[Schema]:
    """Return what an operation takes and answers, each with its schema."""
    bodies = [operation.get("requestBody", {}), operation["responses"].get("200", {})]
    return [content for body in bodies for content in body.get("content", {}).values()]


def _complete(described: Schema, model: str, name: str, schemas: dict[str, Schema]) -> None:
    sentence, example = FIELDS.get(f"{model}.{name}") or FIELDS.get(name) or ("", None)
    parts = [part for part in (*described.get("anyOf", ()), described) if part != {"type": "null"}]
    for key, value in (("description", sentence), ("examples", None if example is None else [example])):
        own = next((part[key] for part in parts if part.get(key)), value)
        if own and not described.get(key):
            described[key] = own
    if "examples" not in described and (found := example_of(described, schemas)) is not None:
        described["examples"] = [found]


def example_of(schema: Schema, schemas: dict[str, Schema]) -> Any:  # noqa: ANN401, PLR0911 - JSON; a form each
    """Return an example of what a schema describes; None where there is none."""
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return next((found for part in schema["anyOf"] if (found := example_of(part, schemas)) is not None), None)
    if "properties" in schema:
        given = {name: example_of(_named(one, name, schemas), schemas) for name, one in schema["properties"].items()}
        return {name: value for name, value in given.items() if value is not None}
    if schema.get("type") == "array":
        item = example_of(schema["items"], schemas)
        return None if item is None else [item]
    return {"boolean": True, "string": None}.get(schema.get("type", ""))


def _named(schema: Schema, name: str, schemas: dict[str, Schema]) -> Schema:
    """Return the schema of a property with what its name says, as it may not be completed yet."""
    copy = dict(schema)
    _, example = FIELDS.get(name) or ("", None)
    if "examples" not in copy and example is not None and example_of(copy, schemas) is None:
        copy["examples"] = [example]
    return copy
