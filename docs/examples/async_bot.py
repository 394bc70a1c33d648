"""The Telegram bot for an event loop, with handlers in the manner of aiogram: many users are answered at the same time.

    pip install PATH-OF-VPNKEYS/client   # vpnkeys.client without the server; httpx comes with it
    export VPNKEYS_URL=https://203.0.113.10:8000 VPNKEYS_API_KEY=vpnk_… VPNKEYS_FINGERPRINT=6F:1C:… TELEGRAM_TOKEN=…
    python async_bot.py

/start gives a user a key, /left says how much of its traffic is left, and until when. In aiogram the handlers are the
same, below `@router.message(Command("start"))`: what they await is the `AsyncClient`.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from vpnkeys.client import ApiError, AsyncClient, Key, TooManyRequests, Unavailable

POLL_S = 50  # Telegram answers at once when there is something
PAUSE_S = 2.0
GB = 10**9
TRIES = 30

Handler = Callable[[AsyncClient, str], Awaitable[str]]
HANDLERS: dict[str, Handler] = {}


def command(name: str) -> Callable[[Handler], Handler]:
    """Let a handler answer a command."""

    def register(handler: Handler) -> Handler:
        HANDLERS[name] = handler
        return handler

    return register


async def key_of(server: AsyncClient, user: str) -> Key:
    """The user's key, made when there is none: its 30 days begin with the first byte. A repetition makes no second."""
    found = next(iter(await server.keys.list(user)), None)
    return found or await server.keys.create(
        user, user, traffic_limit_bytes=50 * GB, traffic_limit_window="30d", expires_after_s=30 * 86400, max_devices=3
    )


@command("/start")
async def start(server: AsyncClient, user: str) -> str:
    """The user's link."""
    return (await server.keys.config((await key_of(server, user)).id)).vless_url


@command("/left")
async def left(server: AsyncClient, user: str) -> str:
    """How much is left, and until when."""
    key = await key_of(server, user)
    remaining = (await server.keys.traffic(key.id)).remaining_bytes or 0
    until = "30 days from your first connection" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"{remaining / GB:.2f} GB left, until {until}"


async def handle(telegram: httpx.AsyncClient, server: AsyncClient, message: dict[str, Any]) -> None:
    """Answer one message; what cannot be answered now is tried again."""
    handler = HANDLERS.get(message.get("text", "").split("@", maxsplit=1)[0].strip())
    if handler is None or message["chat"]["type"] != "private":  # a key is for one person
        return
    for _ in range(TRIES):
        try:
            reply = await handler(server, f"telegram:{message['from']['id']}")
            break
        except (TooManyRequests, Unavailable) as error:
            print(f"waiting: {error.code}", file=sys.stderr)
            await asyncio.sleep(error.retry_after_s or PAUSE_S)
        except ApiError as error:
            print(f"{error.code}: {error.detail}", file=sys.stderr)
            reply = "That did not work; please tell the operator."
            break
    else:
        reply = "The server does not answer; please try again later."
    await telegram.post("sendMessage", json={"chat_id": message["chat"]["id"], "text": reply})


async def main() -> None:
    """Answer messages until the process is ended."""
    api = os.environ.get("TELEGRAM_API", "https://api.telegram.org")
    url, api_key = os.environ["VPNKEYS_URL"], os.environ["VPNKEYS_API_KEY"]
    fingerprint = os.environ["VPNKEYS_FINGERPRINT"]
    bot = f"{api}/bot{os.environ['TELEGRAM_TOKEN']}/"
    seen = 0
    async with (
        AsyncClient(url, api_key, fingerprint=fingerprint) as server,
        httpx.AsyncClient(base_url=bot, timeout=POLL_S + 10.0) as telegram,
        asyncio.TaskGroup() as tasks,
    ):
        while True:
            asked = {"offset": seen + 1, "timeout": POLL_S, "allowed_updates": ["message"]}
            try:
                updates = (await telegram.post("getUpdates", json=asked)).raise_for_status().json()["result"]
            except httpx.HTTPError as error:
                print(f"waiting: {type(error).__name__}", file=sys.stderr)  # its text would hold the bot's token
                await asyncio.sleep(PAUSE_S)
                continue
            for update in updates:
                seen = update["update_id"]
                tasks.create_task(handle(telegram, server, update.get("message", {"chat": {"type": ""}})))


if __name__ == "__main__":
    asyncio.run(main())
