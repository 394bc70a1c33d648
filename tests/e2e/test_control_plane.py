"""A control plane without a node: it starts without an Xray and says so, and leaves no key of its host behind."""

from __future__ import annotations

import pytest
from tests.support.keys import delete_key, make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

ALONE = ("-m", "vpnkeys", "serve", "--no-node")


def test_it_needs_no_xray_and_is_well(target: RealityTarget) -> None:
    """Healthy, with `local` drained; sums are given, what is about an Xray is refused; the doctor looks for none."""
    plane = Service(target, settings={"VPNKEYS_XRAY_BIN": "/nowhere/xray"})
    plane.command = ALONE
    with plane:
        plane.wait_healthy()
        assert plane.client.get("/health").json()["services"]["xray"] == "absent"
        (local,) = plane.client.get("/api/nodes").json()
        assert (local["name"], local["state"], local["keys"]) == ("local", "drained", 0)
        assert plane.client.get("/api/system/config-status").json()["synchronized"]
        assert plane.client.get("/api/system/overview").json()["xray_version"] == ""
        assert plane.client.get("/api/system/ports").json()["max_ports"] == 0
        for path in ("targets", "ports/status", "xray/inbounds", "plan"):
            answer = plane.client.get(f"/api/system/{path}")
            assert (answer.status_code, answer.json()["code"]) == (400, "key_elsewhere"), path
        assert plane.client.get("/metrics").status_code == 200
        assert plane.client.post("/api/keys", json={"name": "x"}).json()["code"] == "node_silent"
        doctor = plane.program("doctor", "--json")
        assert doctor.returncode == 0, doctor.stdout
        assert '"xray"' not in doctor.stdout


def test_keys_of_the_host_are_not_left_behind(target: RealityTarget) -> None:
    """While the built-in node has keys, no start is without it."""
    with Service(target) as server:
        server.wait_ready()
        key = make_key(server)
        server.stop()
        done = server.program("serve", "--no-node", timeout=60)
        assert (done.returncode, "move them" in done.stderr) == (1, True), done.stderr
        server.start()
        server.wait_ready()
        delete_key(server, key)
        server.stop()
        server.command = ALONE
        server.start()
        server.wait_healthy()
