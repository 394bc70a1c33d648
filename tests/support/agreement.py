"""Do the database, config.json and the running Xray say the same? Read by each one's own means.

Nothing here uses the product's code: the database is read by its driver, the file by json, Xray by its command line.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tests.support.rows import rows_of
from tests.support.service import Service

Json = dict[str, Any]

_API_TAG = "vpnkeys-api"


@dataclass(frozen=True, order=True)
class Facts:
    """All that decides who gets in by an inbound, and where."""

    tag: str
    listen: str
    port: int
    uuid: str
    email: str
    flow: str
    short_id: str
    sni: str
    target: str
    private_key: str


def agreement(service: Service) -> list[str]:
    """Every difference between the three, in words; empty when they agree."""
    wanted = facts_of_database(service)
    document = read_config(service)
    running = list_running(service)
    return [
        *_differences("config.json", wanted, _facts_of(_key_inbounds(document["inbounds"]), _fact_of_json)),
        *_differences("Xray", wanted, _facts_of(_key_inbounds(running), _fact_of_running)),
        *_tag_differences(service, document["inbounds"], running),
    ]


def facts_of_database(service: Service) -> list[Facts]:
    """What the database wants of Xray."""
    private_key = json.loads((service.data_dir / "reality.json").read_text())["private_key"]
    forced = service.env["VPNKEYS_REALITY_TARGET"]
    columns = "id, port, coalesce(new_uuid, uuid), uuid, flow, short_id, sni"
    rows = rows_of(service.database, f"SELECT {columns} FROM keys WHERE is_active AND judged = 'active'")  # noqa: S608 - our own names
    return [
        Facts(
            tag=f"key-{key_id}",
            listen=service.env["VPNKEYS_INBOUND_LISTEN"],
            port=port,
            uuid=uuid,
            email=account,
            flow=flow,
            short_id=short_id.ljust(16, "0"),  # a shorter one is the same to Xray with zeros behind it
            sni=sni,
            target=forced or f"{sni}:443",
            private_key=private_key,
        )
        for key_id, port, uuid, account, flow, short_id, sni in rows
    ]


def read_config(service: Service) -> Json:
    """config.json."""
    document: Json = json.loads((service.data_dir / "config.json").read_text())
    return document


def list_running(service: Service) -> list[Json]:
    """The inbounds of the running Xray, as its own command line lists them."""
    server = f"--server=unix://{service.data_dir / 'run' / 'api.sock'}"
    done = subprocess.run(
        [service.env["VPNKEYS_XRAY_BIN"], "api", "lsi", server, "--timeout=5"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise service.child.error(f"xray api lsi: {done.stdout}{done.stderr}")
    inbounds: list[Json] = json.loads(done.stdout)["inbounds"]
    return inbounds


def _key_inbounds(inbounds: list[Json]) -> list[Json]:
    return [inbound for inbound in inbounds if str(inbound.get("tag", "")).startswith("key-")]


def _facts_of(inbounds: list[Json], read: Any) -> list[Facts]:  # noqa: ANN401
    return [read(inbound) for inbound in inbounds]


def _fact_of_json(inbound: Json) -> Facts:
    (client,) = inbound["settings"]["clients"]
    reality = inbound["streamSettings"]["realitySettings"]
    (short_id,), (sni,) = reality["shortIds"], reality["serverNames"]
    return Facts(
        tag=inbound["tag"],
        listen=inbound["listen"],
        port=inbound["port"],
        uuid=client["id"],
        email=client["email"],
        flow=client["flow"],
        short_id=short_id,
        sni=sni,
        target=reality["target"],
        private_key=reality["privateKey"],
    )


def _fact_of_running(inbound: Json) -> Facts:
    (client,) = inbound["proxySettings"]["clients"]
    receiver = inbound["receiverSettings"]
    (reality,) = receiver["streamSettings"]["securitySettings"]
    (short_id,), (sni,) = reality["shortIds"], reality["serverNames"]
    return Facts(
        tag=inbound["tag"],
        listen=receiver["listen"],
        port=int(receiver["portList"]),
        uuid=client["account"]["id"],
        email=client["email"],
        flow=client["account"]["flow"],
        short_id=bytes(short_id).hex(),
        sni=sni,
        target=reality["dest"],
        private_key=base64.urlsafe_b64encode(bytes(reality["privateKey"])).decode().rstrip("="),
    )


def _differences(where: str, wanted: Iterable[Facts], found: Iterable[Facts]) -> list[str]:
    """Key by key and field by field."""
    here, there = {facts.tag: facts for facts in wanted}, {facts.tag: facts for facts in found}
    lacking = [f"{where} lacks {here[tag]}" for tag in sorted(here.keys() - there.keys())]
    extra = [f"{where} has {there[tag]} which no key wants" for tag in sorted(there.keys() - here.keys())]
    different = [
        f"{where}: {tag} has {field} {value!r}, the database wants {asdict(here[tag])[field]!r}"
        for tag in sorted(here.keys() & there.keys())
        for field, value in asdict(there[tag]).items()
        if value != asdict(here[tag])[field]
    ]
    return lacking + extra + different


def _tag_differences(service: Service, file: list[Json], running: list[Json]) -> list[str]:
    """Beside keys: the API, a warm inbound for each server name, and what the operator added; each exactly once."""
    filed, run = (sorted(str(inbound.get("tag", "")) for inbound in inbounds) for inbounds in (file, running))
    names = service.env["VPNKEYS_REALITY_SERVER_NAMES"].split(",")
    ours = {_API_TAG, *(f"warm-{name}" for name in names)}
    faults = [f"config.json has the tags {filed}, Xray runs {run}"] if filed != run else []
    if len(set(filed)) != len(filed):
        faults.append(f"config.json has a tag twice: {filed}")
    if not ours <= set(filed):
        faults.append(f"config.json lacks {sorted(ours - set(filed))}")
    return faults
