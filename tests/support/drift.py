"""Drift made by hand: whatever an operator, a script or an accident may do to config.json and to a running Xray."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.agreement import Json, read_config
from tests.support.keys import Key
from tests.support.service import Service

STRANGER = "11111111-2222-4333-8444-555555555555"
OTHER_KEY = "YAAcPKtmDaF43EVnAl0Zp1kYGEpzDINhJcXEc6zw4EE"

Change = Callable[[Service, Key], None]


@dataclass(frozen=True)
class Drift:
    """One kind of drift: how it comes about, what `validation` has to say of it, and which request mends it."""

    name: str
    make: Change
    file: dict[str, object] | None = None
    runtime: dict[str, object] | None = None
    mend: str = "sync-config"


def tag_of(key: Key) -> str:
    """The tag of a key's inbound."""
    return f"key-{key['id']}"


def inbound_of(document: Json, key: Key) -> Json:
    """A key's inbound in a config.json."""
    found: Json = next(inbound for inbound in document["inbounds"] if inbound["tag"] == tag_of(key))
    return found


def write_config(service: Service, text: str) -> None:
    """Put any text in the place of config.json."""
    (service.data_dir / "config.json").write_text(text, encoding="utf-8")


def _delete(service: Service, _key: Key) -> None:
    (service.data_dir / "config.json").unlink()


def _truncate(service: Service, _key: Key) -> None:
    text = (service.data_dir / "config.json").read_text()
    write_config(service, text[: len(text) // 2])


def _not_json(service: Service, _key: Key) -> None:
    write_config(service, "inbounds: none today\n")


def _edited(edit: Callable[[Json, Json], None]) -> Change:
    """A change of the key's own inbound in config.json."""

    def change(service: Service, key: Key) -> None:
        document = read_config(service)
        edit(document, inbound_of(document, key))
        write_config(service, json.dumps(document))

    return change


def _reality(name: str, value: object) -> Change:
    return _edited(lambda _document, inbound: inbound["streamSettings"]["realitySettings"].update({name: value}))


def _add_client(_document: Json, inbound: Json) -> None:
    inbound["settings"]["clients"].append({"id": STRANGER, "email": STRANGER, "flow": "xtls-rprx-vision"})


def _remove_running(service: Service, key: Key) -> None:
    _xray_api(service, "rmi", tag_of(key))


def _add_running(service: Service, key: Key) -> None:
    """An inbound that nobody wrote down, with a way in for a stranger, on a port that no key has."""
    inbound = json.loads(json.dumps(inbound_of(read_config(service), key)))
    inbound |= {"tag": "back-door", "port": service.ports.stop - 1}
    inbound["settings"]["clients"][0] |= {"id": STRANGER, "email": STRANGER}
    path = service.data_dir / f"added-{uuid.uuid4()}.json"
    path.write_text(json.dumps({"inbounds": [inbound]}))
    _xray_api(service, "adi", str(path))
    path.unlink()


def _xray_api(service: Service, command: str, *arguments: str) -> None:
    server = f"--server=unix://{service.data_dir / 'run' / 'api.sock'}"
    subprocess.run(
        [service.env["VPNKEYS_XRAY_BIN"], "api", command, server, *arguments],
        check=True,
        capture_output=True,
        timeout=60,
    )


def _both(service: Service, key: Key) -> None:
    _remove_running(service, key)
    _add_running(service, key)
    _not_json(service, key)


# "KEY" stands for the UUID of the key that is tampered with, "ALL" for those of all keys.
DRIFTS = (
    Drift("config.json deleted", _delete, file={"missing": "ALL"}),
    Drift("config.json truncated", _truncate, file={"missing": "ALL"}),
    Drift("config.json not JSON", _not_json, file={"missing": "ALL"}, mend="xray/sync-config"),
    Drift(
        "a key missing in config.json",
        _edited(lambda document, inbound: document["inbounds"].remove(inbound)),
        file={"missing": ["KEY"]},
    ),
    Drift(
        "a foreign client in config.json",
        _edited(_add_client),
        file={"extra": [STRANGER], "settings": {"KEY": ["clients"]}},
    ),
    Drift(
        "a wrong short_id in config.json",
        _reality("shortIds", ["00112233aabbccdd"]),
        file={"settings": {"KEY": ["shortIds"]}},
        mend="xray/sync-config",
    ),
    Drift(
        "a wrong private key in config.json",
        _reality("privateKey", OTHER_KEY),
        file={"settings": {"KEY": ["privateKey"]}},
        mend="fix-reality-keys",
    ),
    Drift(
        "a wrong port in config.json",
        _edited(lambda _document, inbound: inbound.update(port=inbound["port"] + 5)),
        file={"settings": {"KEY": ["port"]}},
    ),
    Drift(
        "a wrong server name in config.json",
        _reality("serverNames", ["evil.example.com"]),
        file={"settings": {"KEY": ["serverNames"]}},
        mend="verify-reality",
    ),
    Drift("an inbound removed from the running Xray", _remove_running, runtime={"missing": ["KEY"]}),
    Drift("an inbound added to the running Xray", _add_running, runtime={"extra": [STRANGER]}),
    Drift("both at once", _both, file={"missing": "ALL"}, runtime={"missing": ["KEY"], "extra": [STRANGER]}),
)
