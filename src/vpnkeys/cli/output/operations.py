"""Names the command for each request of the API: messages of the server name requests, which are of no use here."""

import re

COMMANDS = {
    "GET /": "system info",
    "GET /api/": "system info",
    "GET /health": "status",
    "GET /metrics": "metrics",
    "GET /api/events": "top",
    "GET /api/keys": "keys list",
    "POST /api/keys": "keys add",
    "POST /api/keys/bulk": "keys add",
    "POST /api/keys/bulk/delete": "keys rm",
    "POST /api/keys/bulk/extend": "keys extend",
    "POST /api/keys/{key_id}/rotate": "keys rotate",
    "GET /api/keys/{key_id}": "keys show",
    "PATCH /api/keys/{key_id}": "keys set",
    "DELETE /api/keys/{key_id}": "keys rm",
    "GET /api/keys/{key_id}/config": "keys show",
    "GET /api/keys/{key_id}/link": "keys link",
    "POST /api/keys/{key_id}/test": "keys test",
    "GET /api/keys/{key_id}/qr.svg": "keys qr",
    "GET /api/keys/{key_id}/traffic": "traffic show",
    "POST /api/keys/{key_id}/traffic/reset": "traffic reset",
    "GET /api/keys/{key_id}/traffic/history": "keys history",
    "GET /api/keys/{key_id}/online": "keys online",
    "POST /api/keys/{key_id}/subscription": "keys sub",
    "GET /api/keys/{key_id}/subscription": "keys sub",
    "DELETE /api/keys/{key_id}/subscription": "keys sub",
    "POST /api/subscriptions": "subscriptions add",
    "GET /api/subscriptions": "subscriptions list",
    "DELETE /api/subscriptions/{subscription_id}": "subscriptions rm",
    "GET /api/traffic": "traffic list",
    "GET /api/traffic/history": "traffic history",
    "POST /api/system/sync-config": "sync",
    "POST /api/system/xray/sync-config": "sync --restart",
    "GET /api/system/overview": "system overview",
    "GET /api/system/plan": "system plan",
    "GET /api/system/config-status": "system config-status",
    "GET /api/system/xray/config-status": "system xray-config",
    "GET /api/system/xray/inbounds": "system inbounds",
    "GET /api/system/xray/validate-sync": "system validate",
    "GET /api/system/targets": "system targets",
    "GET /api/system/ports": "system ports",
    "GET /api/system/ports/status": "system ports-status",
    "GET /api/system/ports/plan": "system ports-plan",
    "POST /api/system/ports/reset": "system ports-reset",
    "POST /api/system/verify-reality": "system verify-reality",
    "POST /api/system/fix-reality-keys": "system fix-reality-keys",
    "GET /api/tokens/me": "tokens me",
    "GET /api/tokens": "tokens list",
    "POST /api/tokens": "tokens add",
    "POST /api/tokens/{token_id}/rotate": "tokens rotate",
    "DELETE /api/tokens/{token_id}": "tokens revoke",
    "GET /api/nodes": "nodes list",
    "GET /api/nodes/{node_id}": "nodes show",
    "POST /api/nodes": "nodes add",
    "PATCH /api/nodes/{node_id}": "nodes set",
    "DELETE /api/nodes/{node_id}": "nodes rm",
    "POST /api/nodes/{node_id}/move": "nodes move",
    "POST /api/nodes/{node_id}/replace": "nodes replace",
    "GET /api/doors": "import doors",
    "DELETE /api/doors/{tag}": "import close-door",
    "GET /api/webhooks": "webhooks list",
    "POST /api/webhooks": "webhooks add",
    "PATCH /api/webhooks/{webhook_id}": "webhooks set",
    "DELETE /api/webhooks/{webhook_id}": "webhooks rm",
    "POST /api/webhooks/{webhook_id}/test": "webhooks test",
    "GET /api/webhooks/{webhook_id}/deliveries": "webhooks deliveries",
    "GET /api/audit": "audit",
    "GET /api/backups": "backups list",
    "POST /api/backups": "backups make",
    "GET /api/backups/{name}": "backups get",
}

_REQUEST = re.compile(r"`?\b(GET|POST|PATCH|DELETE) (/(?:[\w{}./-]*[\w}/])?)`?")


def in_commands(text: str) -> str:
    """Return a message of the server with commands in place of the requests that it names."""
    return _REQUEST.sub(_command, text)


def _command(request: re.Match[str]) -> str:
    for known, command in COMMANDS.items():
        # A request may name the thing itself: GET /api/nodes/eu.
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", known), f"{request[1]} {request[2]}"):
            return f"`vpnkeys {command}`"
    return request[0]
