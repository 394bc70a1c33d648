"""A test of an Xray program: it runs as a server on loopback with its own key pair, and a client connects to it."""

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.domain.inbound import Inbound, Reality, VlessClient
from vpnkeys.domain.reality import KeyPair
from vpnkeys.settings import Settings
from vpnkeys.xray.config.pieces import render_inbound
from vpnkeys.xray.probe.client import ClientFailed, Way, connect, running_client, way_into
from vpnkeys.xray.probe.old_client import lets_in_old_client
from vpnkeys.xray.process.child import spawn
from vpnkeys.xray.process.launch import xray_environment

# REALITY probes its target first, for up to five seconds, and makes clients wait that connect during the probe.
_PATIENCE_S = 9.0
_AGAIN_S = 0.3
_HOST = "trial.invalid"
_REQUEST = f"GET / HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Pair:
    """The Xray programs for the server and for the client of one test."""

    server: Path
    client: Path


def carries(pair: Pair, settings: Settings) -> bool:
    """Return whether a byte comes back through the pair, with any of the configured server names.

    It needs the internet only for one REALITY target: the server's Xray answers the client's request itself (a
    blackhole outbound with an HTTP response). Raises OSError.
    """
    with _serving(pair.server, settings) as (room, ways):
        try:
            return asyncio.run(_any_answers(pair.client, settings, room, ways))
        except ClientFailed:
            return False


def lets_in_old_clients(server: Path, settings: Settings) -> bool:
    """Return whether an Xray accepts the handshakes of clients older than itself, with any of the server names."""
    ends_at = time.monotonic() + _PATIENCE_S
    with _serving(server, settings) as (_, ways):
        waiting = list(ways)
        while waiting and (left := ends_at - time.monotonic()) > 0:
            for way in tuple(waiting):
                with suppress(OSError):  # it does not listen yet, or its target does not answer
                    if lets_in_old_client(way, left):
                        return True
                    waiting.remove(way)
            time.sleep(_AGAIN_S)
    return False


@contextmanager
def _serving(program: Path, settings: Settings) -> Iterator[tuple[Path, list[Way]]]:
    """Run an Xray as a server, with a way in by each server name; yield a directory for files, and the ways."""
    pair_of_keys = KeyPair.new()
    with tempfile.TemporaryDirectory(prefix="vpnkeys-trial-") as room:
        inbounds = _inbounds(settings, pair_of_keys.private_key)
        config = Path(room) / "server.json"
        config.write_text(json.dumps(_server(inbounds)), encoding="ascii")
        server = spawn(program, config, xray_environment(settings.xray_ca_file))
        try:
            yield Path(room), [way_into(each, each.port or 0, pair_of_keys.public_key) for each in inbounds]
        finally:
            _end(server)


def _inbounds(settings: Settings, private_key: str) -> list[Inbound]:
    return [
        Inbound(
            tag=f"trial-{index}",
            listen="127.0.0.1",
            port=_free_port(),
            clients=(VlessClient(uuid=str(uuid.uuid4()), email=""),),
            reality=Reality(
                target=settings.reality_target or f"{name}:443",
                server_names=(name,),
                private_key=private_key,
                short_ids=(os.urandom(8).hex(),),
            ),
        )
        for index, name in enumerate(settings.reality_server_names)
    ]


def _server(inbounds: Sequence[Inbound]) -> dict[str, object]:
    return {
        "log": {"loglevel": "none", "access": "none"},
        "inbounds": [render_inbound(inbound) for inbound in inbounds],
        "outbounds": [{"protocol": "blackhole", "settings": {"response": {"type": "http"}}}],
    }


async def _any_answers(client: Path, settings: Settings, room: Path, ways: Sequence[Way]) -> bool:
    environment = xray_environment(settings.xray_ca_file)
    async with running_client(client, environment, room, ways, "upgrade") as doors:
        tries = [asyncio.create_task(_answers(door)) for door in doors]
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for done in asyncio.as_completed(tries):
                    await done
                    return True
        except TimeoutError:
            return False
        finally:
            for task in tries:
                task.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
    return False


async def _answers(door: Path) -> None:
    """Repeat a request until a byte has come back."""
    while True:
        try:
            reader, writer = await connect(door, _HOST, 80)
            try:
                writer.write(_REQUEST)
                if await reader.read(1):
                    return
            finally:
                writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(_AGAIN_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()
