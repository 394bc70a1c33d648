"""The database of two control planes is moved while one of them was paused, as a machine is: it does no harm later."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.planes import SimulatedAgent, control_plane, fingerprint_of
from tests.support.postgres import Cluster
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e


def move(service: Service, url: str) -> dict[str, object]:
    """Move the database of a stopped control plane; what the command says."""
    command = [sys.executable, "-m", "vpnkeys", "database", "move", url, "--json"]
    done = subprocess.run(command, env=service.env, capture_output=True, check=False)
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_one_that_goes_on_answers_with_what_to_do(target: RealityTarget, postgres: Cluster, tmp_path: Path) -> None:
    """503 and the sentence for all changes and reads; unhealthy, so that a balancer leaves it; a stop is kept."""
    certificate, url = Authority(tmp_path).issue(["127.0.0.1"]), postgres.empty_database()
    with ExitStack() as until:
        first = until.enter_context(control_plane(target, url, certificate))
        second = until.enter_context(control_plane(target, url, certificate))
        agent = SimulatedAgent(second.base_url, fingerprint_of(Path(certificate[0])), "20001-20400")
        agent.join(second.client.post("/api/nodes", json={"name": "far"}).raise_for_status().json()["join_token"])
        until.callback(agent.stop)
        assert wait_until(lambda: second.client.post("/api/keys", json={"name": "x"}).status_code == 200)
        (key,) = second.client.get("/api/keys").json()
        first.stop()
        file = f"sqlite:///{first.data_dir / 'vpnkeys.db'}"
        assert move(first, file)["code"] == "move_refused"

        second.child.send_signal(signal.SIGSTOP)
        assert move(first, file)["status"] == "moved"
        second.child.send_signal(signal.SIGCONT)
        for method, path in (("POST", "/api/keys"), ("DELETE", f"/api/keys/{key['id']}"), ("GET", "/api/keys")):
            answer = second.client.request(method, path, json={"name": "y"} if method == "POST" else None)
            assert answer.status_code == 503, answer.text
            assert "VPNKEYS_DATABASE_URL" in answer.json()["detail"], answer.text
        health = second.client.get("/health").json()
        assert health["status"] == "unhealthy"
        (problem,) = [one for one in health["problems"] if one["code"] == "database_unreadable"]
        assert "it was moved" in problem["detail"]
        assert "Traceback" not in second.log()
