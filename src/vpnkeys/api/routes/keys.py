"""Serves `/api/keys`: makes, lists, shows, changes and deletes keys.

Handlers that wait for disk or Xray are coroutines that do so in a thread, and convert what was sent before, and the
answer after: each change of threads takes as long as a commit.
"""

from datetime import timedelta
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Header, Query, Request, Response

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.keys import changed_draft, draft_of, key_answer, made_answer, one_wish, wish_of
from vpnkeys.api.deps import IdentityDep, KeyDep, KeyId, KeysDep, TrafficDep, named_node, rendered_keys
from vpnkeys.api.listing import LIMIT_FORM, MOST, PLACE_FORM, parse_query
from vpnkeys.api.problems import answer_with, problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.key import Key as DomainKey
from vpnkeys.domain.nodes import ANY_NODE
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.extending import extend
from vpnkeys.service.rotation import Renewal, rotate
from vpnkeys.service.tokens import Identity
from vpnkeys.service.traffic import TrafficService
from vpnkeys.wire.keys import (
    Deleted,
    DeletedMany,
    Extension,
    Key,
    KeyChange,
    KeyConfig,
    KeyIds,
    KeyLink,
    KeyRotation,
    MadeKey,
    NewKey,
    NewKeys,
)

router = ApiRouter(
    prefix="/api/keys",
    tags=["keys"],
    responses=problems(400, 401, 404, 429, 500, 503),
)


_JSON = "application/json"

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="the same key and request again by the same token within 24 hours gives the first answer, 404 when "
        "what it made or changed has been deleted",
    ),
]


@router.post("")
@requires(Scope.KEYS, limit="create")
async def create_key(
    new: NewKey,
    keys: KeysDep,
    who: IdentityDep,
    idempotency_key: IdempotencyKey = None,
) -> MadeKey:
    """Make a key. 200 means that its link carries traffic now."""
    draft, wish = draft_of(new), wish_of(new)
    repeat = _repeat_of(who, idempotency_key, draft if wish == ANY_NODE else (draft, wish))
    return made_answer(await Pool.QUICK.run(keys.create, draft, repeat, wish), new, keys.clock.now())


def _repeat_of(who: Identity, idempotency_key: str | None, request: object) -> Repeat | None:
    """Return what identifies a request by its parsed body, so that spelling and order of its JSON do not matter."""
    return None if idempotency_key is None else Repeat.of(who.id, idempotency_key, request)


@router.post("/bulk")
@requires(Scope.KEYS, limit="create")
async def create_keys(
    new: NewKeys, keys: KeysDep, who: IdentityDep, idempotency_key: IdempotencyKey = None
) -> list[MadeKey]:
    """Make several keys, all of them or none."""
    drafts, wish = [draft_of(one) for one in new.keys], one_wish(new.keys)
    repeat = _repeat_of(who, idempotency_key, drafts if wish == ANY_NODE else (drafts, wish))
    made = await Pool.QUICK.run(keys.create_many, drafts, repeat, wish)
    return [made_answer(key, asked, keys.clock.now()) for key, asked in zip(made, new.keys, strict=True)]


# POST, because clients and proxies may drop the body of a DELETE (RFC 9110, 9.3.5).
@router.post("/bulk/delete")
@requires(Scope.KEYS, limit="delete")
async def delete_keys(which: KeyIds, keys: KeysDep) -> DeletedMany:
    """Delete several keys, all of them or none."""
    deleted = await Pool.QUICK.run(keys.delete, *which.ids)
    return DeletedMany(message="Keys deleted successfully", deleted=len(deleted))


@router.post("/bulk/extend")
@requires(Scope.KEYS)
def extend_keys(
    extension: Extension,
    keys: KeysDep,
    traffic: TrafficDep,
    who: IdentityDep,
    idempotency_key: IdempotencyKey = None,
) -> list[Key]:
    """Let several keys expire later, all of them or none; those that never expire stay so."""
    repeat = _repeat_of(who, idempotency_key, ("extend", extension.ids, extension.days))
    extended = extend(keys, extension.ids, timedelta(days=extension.days), repeat)
    usage = traffic.usage.of_each(extended)
    return [key_answer(key, used) for key, used in zip(extended, usage, strict=True)]


@router.plain("", response_model=list[Key], responses=answer_with("Link"))
@requires(Scope.READ, limit="list")
def list_keys(  # noqa: PLR0913, PLR0917 - one for each parameter
    request: Request,
    name: Annotated[str | None, Query(description="only keys with exactly this name")] = None,
    search: Annotated[
        str | None,
        Query(description="only keys with this in their name, note, UUID, id, short id or port, in any case"),
    ] = None,
    limit: Annotated[str | None, Query(description=f"so many keys at most, 1 to {MOST}", pattern=LIMIT_FORM)] = None,
    after: Annotated[
        str | None, Query(description="the place after which a page begins, from `Link`", pattern=PLACE_FORM)
    ] = None,
    node: Annotated[str | None, Query(description="only keys of the node with this id or name")] = None,
) -> Response:
    """Return all keys, oldest first; with `limit` a page of them, whose `Link: rel="next"` leads to the next one."""
    keys = rendered_keys(request)
    if (name, search, limit, after, node) == (None, None, None, None, None):
        return Response(keys.all(), media_type=_JSON)
    chosen = None if node is None else named_node(request, node)
    found, next_after = keys.page(parse_query(name, search, after, limit, chosen))
    if not next_after:
        return Response(found, media_type=_JSON)
    # Only the query, so that the reference is right behind every proxy: it counts from the address that was asked.
    asked = {"name": name, "search": search, "limit": limit, "after": next_after, "node": node}
    following = urlencode({key: value for key, value in asked.items() if value is not None})
    return Response(found, media_type=_JSON, headers={"Link": f'<?{following}>; rel="next"'})


@router.plain("/{key_id}", response_model=Key)
@requires(Scope.READ, limit="get")
def get_key(request: Request, key_id: KeyId) -> Response:
    """Return one key."""
    return Response(rendered_keys(request).one(key_id), media_type=_JSON)


@router.get("/{key_id}/config")
@requires(Scope.READ)
def get_key_config(key: KeyDep, keys: KeysDep, traffic: TrafficDep) -> KeyConfig:
    """Return a key and the link for its customer."""
    return _config_answer(key, keys, traffic)


def _config_answer(key: DomainKey, keys: KeyService, traffic: TrafficService) -> KeyConfig:
    link = keys.link(key)
    return KeyConfig(
        key=key_answer(key, traffic.usage.of(key)), client_config=link, vless_url=link, short_id=key.short_id
    )


@router.get("/{key_id}/link")
@requires(Scope.READ)
async def get_key_link(key: KeyDep, keys: KeysDep) -> KeyLink:
    """Return the link for a key's customer."""
    link = keys.link(key)
    return KeyLink(vless_link=link, vless_url=link, client_config=link, key_id=key.id, key_uuid=key.uuid)


@router.patch("/{key_id}")
@requires(Scope.KEYS)
def change_key(key_id: KeyId, change: KeyChange, keys: KeysDep, traffic: TrafficDep) -> Key:
    """Change a key. When this answers, Xray follows the change. The link stays the same unless the key gets a port."""
    # In one thread: what was used in a new window is read from the database.
    key = keys.change(key_id, partial(changed_draft, change))
    return key_answer(key, traffic.usage.of(key))


@router.post("/{key_id}/rotate")
@requires(Scope.KEYS)
def rotate_key(  # noqa: PLR0913, PLR0917 - one for each parameter
    key_id: KeyId,
    rotation: KeyRotation,
    keys: KeysDep,
    traffic: TrafficDep,
    who: IdentityDep,
    idempotency_key: IdempotencyKey = None,
) -> KeyConfig:
    """Give a key a new link. When this answers, it works, the old one does not, and its connections are cut."""
    renewal = Renewal(rotation.uuid, rotation.short_id, rotation.sni)
    repeat = _repeat_of(who, idempotency_key, ("rotate", key_id, renewal))
    return _config_answer(rotate(keys, key_id, renewal, repeat), keys, traffic)


@router.delete("/{key_id}")
@requires(Scope.KEYS, limit="delete")
async def delete_key(key_id: KeyId, keys: KeysDep) -> Deleted:
    """Delete a key. When this answers, no client gets in with it and its open connections are cut."""
    await Pool.QUICK.run(keys.delete, key_id)
    return Deleted(message="Key deleted successfully")
