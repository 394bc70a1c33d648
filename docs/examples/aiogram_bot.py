"""The Telegram bot with aiogram 3: many users are answered at the same time.

    pip install aiogram PATH-OF-VPNKEYS/client   # vpnkeys.client without the server
    export VPNKEYS_URL=https://203.0.113.10:8000 VPNKEYS_API_KEY=vpnk_… VPNKEYS_FINGERPRINT=6F:1C:… TELEGRAM_TOKEN=…
    python aiogram_bot.py

/start gives a user a key, /left says how much of its traffic is left, and until when. Anything else and groups are left
to handlers of yours.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramAPIError, TelegramNetworkError, TelegramRetryAfter, TelegramServerError
from aiogram.filters import Command, CommandStart
from aiogram.types import Message

from vpnkeys.client import ApiError, AsyncClient, Key, TooManyRequests, Unavailable

GB = 10**9
TRIES = 30
PAUSE_S = 2.0

log = logging.getLogger("bot")
router = Router()
router.message.filter(F.chat.type == "private")  # a key is for one person
locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


async def key_of(server: AsyncClient, message: Message) -> Key:
    """The user's key, made when there is none: its 30 days begin with the first byte.

    A message that is handled twice makes no second one, nor do two that come at once.
    """
    name = f"telegram:{message.from_user.id}"
    once = f"{name}:{message.message_id}"  # not the name alone: a user whose key was deleted may have another
    month_s = 30 * 86400
    async with locks.setdefault(name, asyncio.Lock()):
        found = next(iter(await server.keys.list(name)), None)
        return found or await server.keys.create(
            name, once, traffic_limit_bytes=50 * GB, traffic_limit_window="30d", expires_after_s=month_s, max_devices=3
        )


@router.message(CommandStart())
async def start(message: Message, server: AsyncClient) -> str:
    """The user's link."""
    key = await key_of(server, message)
    return (await server.keys.config(key.id)).vless_url


@router.message(Command("left"))
async def left(message: Message, server: AsyncClient) -> str:
    """How much is left, and until when."""
    key = await key_of(server, message)
    remaining = (await server.keys.traffic(key.id)).remaining_bytes or 0
    until = "30 days from your first connection" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"{remaining / GB:.2f} GB left, until {until}"


@router.message.middleware()
async def patiently(
    handler: Callable[[Message, dict[str, Any]], Awaitable[str]], message: Message, data: dict[str, Any]
) -> None:
    """Send what a handler returns, and try again while the server or Telegram is busy or away."""
    for _ in range(TRIES):
        try:
            await message.answer(await reply_of(handler, message, data))
        except (TooManyRequests, Unavailable) as error:
            log.warning("waiting: %s", error.code)
            await asyncio.sleep(error.retry_after_s or PAUSE_S)
        except (TelegramNetworkError, TelegramRetryAfter, TelegramServerError) as error:
            log.warning("waiting: %s", type(error).__name__)
            await asyncio.sleep(getattr(error, "retry_after", PAUSE_S))
        except TelegramAPIError as error:  # the user has blocked the bot, or is gone
            log.warning("not answered: %s", type(error).__name__)
            return
        else:
            return
    await message.answer("The server does not answer; please try again later.")


async def reply_of(
    handler: Callable[[Message, dict[str, Any]], Awaitable[str]], message: Message, data: dict[str, Any]
) -> str:
    """What to say to a message. Raises what should be tried again: TooManyRequests, Unavailable."""
    try:
        return await handler(message, data)
    except (TooManyRequests, Unavailable):
        raise
    except ApiError as error:
        log.error("%s: %s", error.code, error.detail)  # noqa: TRY400 - what the server says is enough
        return "That did not work; please tell the operator."


async def main() -> None:
    """Answer messages until the process is ended."""
    telegram = TelegramAPIServer.from_base(os.environ.get("TELEGRAM_API", "https://api.telegram.org"))
    bot = Bot(os.environ["TELEGRAM_TOKEN"], AiohttpSession(api=telegram))
    url, api_key = os.environ["VPNKEYS_URL"], os.environ["VPNKEYS_API_KEY"]
    async with AsyncClient(url, api_key, fingerprint=os.environ["VPNKEYS_FINGERPRINT"]) as server:
        dispatcher = Dispatcher(server=server)  # handlers that name it are given it
        dispatcher.include_router(router)
        await dispatcher.start_polling(bot)


if __name__ == "__main__":
    logging.basicConfig()
    asyncio.run(main())
