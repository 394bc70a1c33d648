"""`/api/keys`: make, list, show and delete keys.

What waits for disk or Xray does so in a thread. A handler that is none itself would have its answer rendered in
another one: one change of threads more, of which each takes as long as a commit.
"""

from datetime import timedelta
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header

from vpnkeys.api.convert.keys import changed_draft, draft_of, key_answer
from vpnkeys.api.deps import KeyId, KeysDep, changing_keys, limited, reading
from vpnkeys.api.problems import problems
from vpnkeys.service.idempotency import Repeat
from vpnkeys.wire.keys import Deleted, DeletedMany, Extension, Key, KeyChange, KeyConfig, KeyIds, NewKey, NewKeys

router = APIRouter(
    prefix="/api/keys",
    tags=["keys"],
    dependencies=[reading],
    responses=problems(400, 401, 404, 429, 500, 503),
)


@router.post("", dependencies=[changing_keys, Depends(limited("create"))])
async def create_key(
    new: NewKey,
    keys: KeysDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="the same key and body again within 24 hours gives the first answer",
        ),
    ] = None,
) -> Key:
    """Make a key. 200 means that its link carries traffic now."""
    draft = draft_of(new)
    repeat = None if idempotency_key is None else Repeat.of(idempotency_key, draft)
    return key_answer(await run_sync(keys.create, draft, repeat))


@router.post("/bulk", dependencies=[changing_keys, Depends(limited("create"))])
async def create_keys(new: NewKeys, keys: KeysDep) -> list[Key]:
    """Make several keys, all of them or none."""
    made = await run_sync(keys.create_many, [draft_of(one) for one in new.keys])
    return [key_answer(key) for key in made]


@router.post("/bulk/delete", dependencies=[changing_keys, Depends(limited("delete"))])
async def delete_keys(which: KeyIds, keys: KeysDep) -> DeletedMany:
    """Delete several keys, all of them or none."""
    deleted = await run_sync(keys.delete, *which.ids)
    return DeletedMany(message="Keys deleted successfully", deleted=len(deleted))


@router.post("/bulk/extend", dependencies=[changing_keys])
async def extend_keys(extension: Extension, keys: KeysDep) -> list[Key]:
    """Let several keys expire later, all of them or none; those that never expire stay so."""
    extended = await run_sync(keys.extend, extension.ids, timedelta(days=extension.days))
    return [key_answer(key) for key in extended]


@router.get("", dependencies=[Depends(limited("list"))])
async def list_keys(keys: KeysDep) -> list[Key]:
    """All keys, oldest first."""
    return [key_answer(key) for key in keys.list()]


@router.get("/{key_id}", dependencies=[Depends(limited("get"))])
async def get_key(key_id: KeyId, keys: KeysDep) -> Key:
    """One key."""
    return key_answer(keys.get(key_id))


@router.get("/{key_id}/config")
async def get_key_config(key_id: KeyId, keys: KeysDep) -> KeyConfig:
    """A key and the link for its customer."""
    key = keys.get(key_id)
    link = keys.link(key)
    return KeyConfig(key=key_answer(key), client_config=link, vless_url=link, short_id=key.short_id)


@router.patch("/{key_id}", dependencies=[changing_keys])
async def change_key(key_id: KeyId, change: KeyChange, keys: KeysDep) -> Key:
    """Change a key. When this answers, it works, or no longer, accordingly; its link stays the same."""
    return key_answer(await run_sync(keys.change, key_id, partial(changed_draft, change)))


@router.delete("/{key_id}", dependencies=[changing_keys, Depends(limited("delete"))])
async def delete_key(key_id: KeyId, keys: KeysDep) -> Deleted:
    """Delete a key. When this answers, nobody gets in with it and its open connections are cut."""
    await run_sync(keys.delete, key_id)
    return Deleted(message="Key deleted successfully")
