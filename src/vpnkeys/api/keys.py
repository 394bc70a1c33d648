"""`/api/keys`: make, list, show and delete keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from vpnkeys.api.deps import KeysDep, require_api_key
from vpnkeys.api.errors import Problem
from vpnkeys.api.schemas import Deleted, KeyConfig, KeyOut, NewKey

_PROBLEMS = {
    400: {"description": "The request cannot be granted as it stands"},
    401: {"description": "The API key is missing or wrong"},
    404: {"description": "No such key"},
    503: {"description": "Xray or the database does not answer; nothing was changed"},
}

router = APIRouter(
    prefix="/api/keys",
    tags=["keys"],
    dependencies=[Depends(require_api_key)],
    responses={
        status: {**text, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
        for status, text in _PROBLEMS.items()
    },
)

KeyId = Annotated[str, Path(description="the key's id or its UUID")]


@router.post("")
def create_key(new: NewKey, keys: KeysDep) -> KeyOut:
    """Make a key. 200 means that its link carries traffic now."""
    return KeyOut.of(keys.create(new.name))


@router.get("")
async def list_keys(keys: KeysDep) -> list[KeyOut]:
    """All keys, oldest first."""
    return [KeyOut.of(key) for key in keys.list()]


@router.get("/{key_id}")
async def get_key(key_id: KeyId, keys: KeysDep) -> KeyOut:
    """One key."""
    return KeyOut.of(keys.get(key_id))


@router.get("/{key_id}/config")
async def get_key_config(key_id: KeyId, keys: KeysDep) -> KeyConfig:
    """A key and the link for its customer."""
    key = keys.get(key_id)
    link = keys.link(key)
    return KeyConfig(key=KeyOut.of(key), client_config=link, vless_url=link, short_id=key.short_id)


@router.delete("/{key_id}")
def delete_key(key_id: KeyId, keys: KeysDep) -> Deleted:
    """Delete a key. When this answers, nobody gets in with it and its open connections are cut."""
    keys.delete(key_id)
    return Deleted()
