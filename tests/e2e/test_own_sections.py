"""config.json belongs to the operator too: sections of one's own stay, or their loss is told before it happens."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.agreement import agreement, list_running, read_config
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, delete_key, link_of, list_keys, make_key
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer
from tests.support.supervisor import SETTINGS, XraySupervisor
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

Json = dict[str, Any]

BAD = {"tag": "bad", "protocol": "nonsense"}
MINE = {"tag": "elsewhere", "protocol": "blackhole"}


@pytest.fixture(params=["child", "unit"])
def running(
    request: pytest.FixtureRequest, target: RealityTarget, egress: tuple[str, ...]
) -> Iterator[tuple[Service, Callable[[], int]]]:
    """A service under each of the two supervisors, and what tells the pid of its Xray."""
    with ExitStack() as stack:
        is_unit = request.param == "unit"
        service = stack.enter_context(Service(target, egress_allow=egress, settings=SETTINGS if is_unit else None))
        pid = stack.enter_context(XraySupervisor(service)).xray_pid if is_unit else service.xray_pid
        service.wait_ready()
        yield service, pid


def codes(service: Service) -> set[str]:
    """The codes of `/health`, without what the host of the test cannot have."""
    problems = service.client.get("/health").json()["problems"]
    return {problem["code"] for problem in problems} - {"connections_not_cut"}


def wait_for_codes(service: Service, *expected: str) -> None:
    """Wait until `/health` has these codes and no other."""
    wait_until(lambda: codes(service) == {*expected})
    assert codes(service) == {*expected}, service.log()


def edit(service: Service, section: str, *values: Json) -> None:
    """Add to a section of config.json by hand."""
    document = read_config(service)
    document[section] = [*document[section], *values]
    (service.data_dir / "config.json").write_text(json.dumps(document))


def aside(service: Service, end: str) -> Path:
    """A copy beside config.json."""
    return service.data_dir / f"config.json.{end}"


def seconds_until(happens: Callable[[], bool]) -> float:
    """How long it takes."""
    began = time.monotonic()
    assert wait_until(happens)
    return time.monotonic() - began


def lets_in(service: Service, key: Key, byte_server: ByteServer) -> bool:
    """Whether a customer gets through by the key's link now."""
    with XrayClient(link_of(service, key)) as client:
        return carries(client.socks, byte_server, timeout=3.0)


def test_a_section_that_xray_refuses_is_found_and_shuts_nobody_out(
    running: tuple[Service, Callable[[], int]], byte_server: ByteServer
) -> None:
    """It is told when it is written, keys come and go beside it, and a killed Xray is back without it in seconds."""
    service, xray_pid = running
    key, gone = make_key(service), make_key(service)
    wait_for_codes(service)
    edit(service, "outbounds", BAD, MINE)
    wait_for_codes(service, "config_unfit")
    assert 'vpnkeys_problem{code="config_unfit"} 1.0' in service.client.get("/metrics").text
    delete_key(service, gone)
    made = make_key(service)
    assert BAD in read_config(service)["outbounds"]
    wait_for_codes(service, "config_unfit")
    os.kill(xray_pid(), signal.SIGKILL)
    assert seconds_until(lambda: lets_in(service, key, byte_server)) < 8.0 * slowness()
    assert lets_in(service, made, byte_server)
    service.child.wait_for(lambda: aside(service, "refused").exists(), "a copy")
    assert json.loads(aside(service, "refused").read_text())["outbounds"][-2:] == [BAD, MINE]
    service.child.wait_for(lambda: "config_unfit" not in codes(service), "a file that Xray takes")
    assert BAD not in read_config(service)["outbounds"]
    assert "config_set_aside" in codes(service)
    service.child.wait_for(lambda: agreement(service) == [], "the same everywhere")
    wait_for_codes(service, "config_set_aside")  # nothing is left out any more of the file that is there now
    # The operator corrects the copy, puts it in place, and restarts Xray: all sections are in force.
    edit(service, "outbounds", MINE)
    aside(service, "refused").unlink()
    assert service.client.post("/api/system/xray/sync-config").status_code == 200
    wait_for_codes(service)
    assert MINE in read_config(service)["outbounds"]
    assert lets_in(service, key, byte_server)


@pytest.mark.parametrize("running", ["child", pytest.param("unit", marks=pytest.mark.soak)], indirect=True)
def test_a_file_that_is_no_json_shuts_nobody_out(
    running: tuple[Service, Callable[[], int]], byte_server: ByteServer
) -> None:
    """It is told, and written anew when Xray needs it; what was there is kept."""
    service, xray_pid = running
    key = make_key(service)
    (service.data_dir / "config.json").write_text('{"inbounds": [')
    # Right after a start repairs follow each other, and one of them may have written it anew already.
    assert wait_until(lambda: bool(codes(service) & {"config_unfit", "config_set_aside"}))
    os.kill(xray_pid(), signal.SIGKILL)
    assert seconds_until(lambda: lets_in(service, key, byte_server)) < 8.0 * slowness()
    wait_for_codes(service, "config_set_aside")
    assert aside(service, "broken").read_text() == '{"inbounds": ['


def test_an_inbound_that_cannot_listen_shuts_nobody_out(
    running: tuple[Service, Callable[[], int]], byte_server: ByteServer
) -> None:
    """Xray's own test finds no taken port; it is started without the operator's sections, which stay in the file."""
    service, xray_pid = running
    key = make_key(service)
    inbound = {"tag": "mine", "listen": "127.0.0.1", "port": byte_server.address[1], "protocol": "socks"}
    edit(service, "inbounds", inbound)
    os.kill(xray_pid(), signal.SIGKILL)
    assert seconds_until(lambda: lets_in(service, key, byte_server)) < 12.0 * slowness()
    wait_for_codes(service, "config_left_out")
    assert inbound in read_config(service)["inbounds"]
    made = make_key(service)
    assert inbound in read_config(service)["inbounds"]
    assert lets_in(service, made, byte_server)


def test_what_is_ours_and_refused_is_put_right_at_once(service: Service) -> None:
    """A key's inbound that was spoilt is no section of the operator's: nothing is put aside."""
    key = make_key(service)
    document = read_config(service)
    inbound = next(one for one in document["inbounds"] if one["tag"] == f"key-{key['id']}")
    inbound["streamSettings"]["realitySettings"]["shortIds"] = ["no hex"]
    (service.data_dir / "config.json").write_text(json.dumps(document))
    service.child.wait_for(lambda: agreement(service) == [], "a file that is right again")
    wait_for_codes(service)
    assert not aside(service, "refused").exists()
    delete_key(service, key)


def test_comments_are_told_and_kept_in_a_copy(service: Service) -> None:
    """Xray takes them; a rewrite keeps the operator's sections, and the comments in a copy."""
    key = make_key(service)
    edit(service, "outbounds", MINE)
    config = service.data_dir / "config.json"
    text = f"// mine, since 2024 /* \n{config.read_text()[:-1]}/* the end */ # really\n}}\n"
    config.write_text(text)
    wait_for_codes(service, "config_comments")
    assert agreement_of_commented(service, config) == []
    make_key(service)
    assert MINE in read_config(service)["outbounds"]
    assert aside(service, "with-comments").read_text() == text
    wait_for_codes(service, "config_set_aside")
    assert aside(service, "with-comments").name in service.client.get("/health").text
    assert "config_set_aside" in service.cli("doctor").stdout
    aside(service, "with-comments").unlink()
    wait_for_codes(service)
    delete_key(service, key)


def agreement_of_commented(service: Service, config: Path) -> list[str]:
    """What the server thinks of the file: nothing to repair."""
    answer = service.client.get("/api/system/config-status").raise_for_status().json()
    return [] if answer["validation"]["synced"] and config.exists() else [str(answer)]


def test_an_inbound_of_ones_own_in_our_range_stays(service: Service, byte_server: ByteServer) -> None:
    """It is reported, no repair removes it from file or Xray, and no key gets its port."""
    if left := [key["id"] for key in list_keys(service)]:  # of earlier tests: no key may have one of these ports
        service.client.post("/api/keys/bulk/delete", json={"ids": left}).raise_for_status()
    port = service.ports.start + 1
    inbound = {"tag": "mine", "listen": "127.0.0.1", "port": port, "protocol": "socks", "settings": {"auth": "noauth"}}
    lonely = free_port()
    other = {**inbound, "tag": "spread", "port": f"{lonely},{service.ports.start + 3}-{service.ports.start + 4}"}
    edit(service, "inbounds", inbound, other)
    wait_for_codes(service, "ports_reserved")
    issues = service.client.get("/api/system/ports/status").json()["validation"]["issues"]
    assert [f"port {port} " in issues[0], "mine" in issues[0], len(issues)] == [True, True, 3], issues
    handed_out = {make_key(service)["port"] for _ in range(4)}
    assert handed_out.isdisjoint({port, service.ports.start + 3, service.ports.start + 4})
    for path in ("sync-config", "xray/sync-config", "ports/reset"):
        assert service.client.post(f"/api/system/{path}").status_code == 200
    assert inbound in read_config(service)["inbounds"]
    assert {"mine", "spread"} <= {one["tag"] for one in list_running(service)}
    assert carries(("127.0.0.1", port), byte_server)
    assert service.client.get("/api/system/xray/validate-sync").json()["validation"]["synced"]
    assert "ports_reserved" in service.cli("doctor").stdout
