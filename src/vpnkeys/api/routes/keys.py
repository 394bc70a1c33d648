"""Serves `/api/keys`: makes, lists, shows, changes and deletes keys.

Handlers that wait for disk or Xray are coroutines that do so in a thread, and convert what was sent before, and the
answer after: each change of threads takes as long as a commit.
"""

from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import Header, Query, Request, Response

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.keys import changed_draft, draft_of, key_answer, made_answer
from vpnkeys.api.deps import IdentityDep, KeyDep, KeyId, KeysDep, rendered_keys
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.key import Key as DomainKey
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.keys import KeyService
from vpnkeys.service.rotation import Renewal, rotate
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


@router.post("")
@requires(Scope.KEYS, limit="create")
async def create_key(
    new: NewKey,
    keys: KeysDep,
    who: IdentityDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="the same key and body again by the same token within 24 hours gives the first answer, "
            "404 when what it made has been deleted",
        ),
    ] = None,
) -> MadeKey:
    """Make a key. 200 means that its link carries traffic now."""
    draft = draft_of(new)
    # The parsed body is compared, so that spelling and order of its JSON do not matter.
    repeat = None if idempotency_key is None else Repeat.of(who.id, idempotency_key, draft)
    return made_answer(await Pool.QUICK.run(keys.create, draft, repeat), new)


@router.post("/bulk")
@requires(Scope.KEYS, limit="create")
async def create_keys(new: NewKeys, keys: KeysDep) -> list[MadeKey]:
    """Make several keys, all of them or none."""
    made = await Pool.QUICK.run(keys.create_many, [draft_of(one) for one in new.keys])
    return [made_answer(key, asked) for key, asked in zip(made, new.keys, strict=True)]


# POST, because clients and proxies may drop the body of a DELETE (RFC 9110, 9.3.5).
@router.post("/bulk/delete")
@requires(Scope.KEYS, limit="delete")
async def delete_keys(which: KeyIds, keys: KeysDep) -> DeletedMany:
    """Delete several keys, all of them or none."""
    deleted = await Pool.QUICK.run(keys.delete, *which.ids)
    return DeletedMany(message="Keys deleted successfully", deleted=len(deleted))


@router.post("/bulk/extend")
@requires(Scope.KEYS)
async def extend_keys(extension: Extension, keys: KeysDep) -> list[Key]:
    """Let several keys expire later, all of them or none; those that never expire stay so."""
    extended = await Pool.QUICK.run(keys.extend, extension.ids, timedelta(days=extension.days))
    return [key_answer(key) for key in extended]


@router.plain("", response_model=list[Key])
@requires(Scope.READ, limit="list")
def list_keys(
    request: Request, name: Annotated[str | None, Query(description="only keys with exactly this name")] = None
) -> Response:
    """Return all keys, oldest first."""
    keys = rendered_keys(request)
    return Response(keys.all() if name is None else keys.named(name), media_type=_JSON)


@router.plain("/{key_id}", response_model=Key)
@requires(Scope.READ, limit="get")
def get_key(request: Request, key_id: KeyId) -> Response:
    """Return one key."""
    return Response(rendered_keys(request).one(key_id), media_type=_JSON)


@router.get("/{key_id}/config")
@requires(Scope.READ)
async def get_key_config(key: KeyDep, keys: KeysDep) -> KeyConfig:
    """Return a key and the link for its customer."""
    return _config_answer(key, keys)


def _config_answer(key: DomainKey, keys: KeyService) -> KeyConfig:
    link = keys.link(key)
    return KeyConfig(key=key_answer(key), client_config=link, vless_url=link, short_id=key.short_id)


@router.get("/{key_id}/link")
@requires(Scope.READ)
async def get_key_link(key: KeyDep, keys: KeysDep) -> KeyLink:
    """Return the link for a key's customer."""
    link = keys.link(key)
    return KeyLink(vless_link=link, vless_url=link, client_config=link, key_id=key.id, key_uuid=key.uuid)


@router.patch("/{key_id}")
@requires(Scope.KEYS)
async def change_key(key_id: KeyId, change: KeyChange, keys: KeysDep) -> Key:
    """Change a key. When this answers, Xray follows the change. The link stays the same unless the key gets a port."""
    return key_answer(await Pool.QUICK.run(keys.change, key_id, partial(changed_draft, change)))


@router.post("/{key_id}/rotate")
@requires(Scope.KEYS)
async def rotate_key(key_id: KeyId, rotation: KeyRotation, keys: KeysDep) -> KeyConfig:
    """Give a key a new link. When this answers, it works, the old one does not, and its connections are cut."""
    renewal = Renewal(rotation.uuid, rotation.short_id, rotation.sni)
    return _config_answer(await Pool.QUICK.run(rotate, keys.changer, key_id, renewal), keys)


@router.delete("/{key_id}")
@requires(Scope.KEYS, limit="delete")
async def delete_key(key_id: KeyId, keys: KeysDep) -> Deleted:
    """Delete a key. When this answers, no client gets in with it and its open connections are cut."""
    await Pool.QUICK.run(keys.delete, key_id)
    return Deleted(message="Key deleted successfully")
