"""A Telegram bot: whoever writes /start gets a key of their own, and the same one again; /usage says what it has used.

    pip install PATH-OF-VPNKEYS/client   # vpnkeys.client without the server; httpx comes with it
    export VPNKEYS_URL=https://203.0.113.10:8000 VPNKEYS_API_KEY=vpnk_… VPNKEYS_FINGERPRINT=6F:1C:… TELEGRAM_TOKEN=…
    python telegram_bot.py

A token with the scope `keys` is enough: `vpnkeys tokens add bot --scope keys`.
"""

import os
import sys
import time
from typing import Any

import httpx

from vpnkeys.client import ApiError, Client, Key, TooManyRequests, Unavailable

POLL_S = 50  # Telegram answers at once when there is something
PAUSE_S = 2.0
NOBODY_THERE = {400, 403}  # the user has blocked the bot, or is gone: trying again would hold up everyone else
GB = 10**9


class Telegram:
    """As much of the Bot API as this bot needs."""

    def __init__(self, token: str, api: str) -> None:
        self._http = httpx.Client(base_url=f"{api}/bot{token}/", timeout=POLL_S + 10.0)

    def call(self, method: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """What a method answers. Raises httpx.HTTPError."""
        return self._http.post(method, json=fields).raise_for_status().json()["result"]


def key_of(server: Client, user_id: int, update_id: int) -> Key:
    """The user's key, made when there is none. An update that is handled twice makes no second one."""
    name = f"telegram:{user_id}"
    found = next(iter(server.keys.list(name)), None)
    return found or server.keys.create(name, f"telegram-{update_id}", traffic_limit_bytes=50 * GB, max_devices=3)


def reply_to(server: Client, text: str, user_id: int, update_id: int) -> str:
    """What to say to a message."""
    command = next(iter(text.split()), "").partition("@")[0]  # of `/start@some_bot`, or of `/start ref42` by a link
    if command == "/start":
        return server.keys.config(key_of(server, user_id, update_id).id).vless_url
    if command == "/usage":
        used = server.keys.traffic(key_of(server, user_id, update_id).id).total_bytes
        return f"{used / GB:.2f} GB"
    return "/start gives you your key, /usage what it has used."


def handle(telegram: Telegram, server: Client, update: dict[str, Any]) -> None:
    """Answer one message. Raises what should be tried again: TooManyRequests, Unavailable, httpx.HTTPError."""
    message = update.get("message", {})
    if message.get("chat", {}).get("type") != "private":  # a key is for one person
        return
    try:
        reply = reply_to(server, message.get("text", ""), message["from"]["id"], update["update_id"])
    except (TooManyRequests, Unavailable):
        raise
    except ApiError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        reply = "That did not work; please tell the operator."
    try:
        telegram.call("sendMessage", chat_id=message["chat"]["id"], text=reply)
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in NOBODY_THERE:
            raise
        print(f"not answered: {error.response.status_code}", file=sys.stderr)


def serve(telegram: Telegram, server: Client) -> None:
    """Answer messages until the process is ended; what could not be answered now is asked for again."""
    seen = 0
    while True:
        try:
            for update in telegram.call("getUpdates", offset=seen + 1, timeout=POLL_S, allowed_updates=["message"]):
                handle(telegram, server, update)
                seen = update["update_id"]
        except TooManyRequests as error:
            time.sleep(error.retry_after_s or PAUSE_S)
        except (Unavailable, httpx.HTTPError) as error:
            print(f"waiting: {type(error).__name__}", file=sys.stderr)  # its text would hold the bot's token
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    bot = Telegram(os.environ["TELEGRAM_TOKEN"], os.environ.get("TELEGRAM_API", "https://api.telegram.org"))
    url, api_key = os.environ["VPNKEYS_URL"], os.environ["VPNKEYS_API_KEY"]
    with Client(url, api_key, fingerprint=os.environ["VPNKEYS_FINGERPRINT"]) as keys_server:
        serve(bot, keys_server)
