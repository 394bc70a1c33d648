"""The OpenAPI document is true: schemathesis tries everything that it says against the real service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.agreement import agreement
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_EXAMPLES = (5, 15)
"""Of what is made at random, for each operation: a few now, and as many as find what is rare with --soak."""
_PARTS = {"keys": "^/api/keys", "all the rest": "^(?!/api/keys|/api/events)"}
"""The operations, in two runs; but for the stream of events, of which there is no end to wait for."""

# Whether keys can be made also depends on what was before: an Idempotency-Key that came with another body is refused,
# and so are more keys than there are ports. A text that is no URL is no webhook's, and there may be only so many of
# them; what is a URL here is on this machine. The paths under `bulk` are paths of a key, too, for methods that are not
# their own: `GET /api/keys/bulk` is no wrong method, but asks for the key "bulk". So does `DELETE /api/tokens/me`.
# Which ports, server names and short ids a key can have is this server's own: its range, its setting, what others have.
# A new identity of which nothing is new is refused. So is another name for the built-in node, and its removal
# and replacement, and a move of keys to where they are.
# A span that begins in the future ends before it begins, when it ends now.
# Of a subscription that was taken away one is told that there is none, which is no 404.
_CONFIG = """
[[operations]]
include-name = ["POST /api/keys", "POST /api/keys/bulk", "POST /api/webhooks"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "503"]

[[operations]]
include-name = [
  "PATCH /api/webhooks/{webhook_id}", "PATCH /api/keys/{key_id}", "POST /api/keys/{key_id}/rotate",
  "POST /api/keys/bulk/extend",
  "POST /api/nodes", "PATCH /api/nodes/{node_id}", "DELETE /api/nodes/{node_id}",
  "POST /api/nodes/{node_id}/move", "POST /api/nodes/{node_id}/replace",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "404", "503"]

[[operations]]
include-path-regex = "traffic/history$|^/api/traffic$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "404", "503"]

[[operations]]
include-path-regex = "^/api/keys/bulk|^/api/tokens/me"
checks.allow_header_conformance.enabled = false

[[operations]]
include-path-regex = "/subscription$"
checks.use_after_free.enabled = false
"""


@pytest.mark.parametrize("examples", [_EXAMPLES[0], pytest.param(_EXAMPLES[1], marks=pytest.mark.soak)])
@pytest.mark.parametrize("part", _PARTS)
def test_nothing_in_the_openapi_document_is_untrue(
    target: RealityTarget, tmp_path: Path, part: str, examples: int
) -> None:
    """No failure of any check of schemathesis, no 5xx, and database, file and Xray agree afterwards."""
    with Service(target, port_count=250) as service:
        service.wait_ready()
        (tmp_path / "schemathesis.toml").write_text(_CONFIG)
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{service.base_url}/openapi.json",
            # In both, because a generated key in the other would be refused as a different one.
            f"--header=X-API-Key: {service.api_key}",
            f"--header=Authorization: Bearer {service.api_key}",
            f"--tls-verify={service.data_dir / 'tls' / 'cert.pem'}",
            f"--include-path-regex={_PARTS[part]}",
            f"--max-examples={examples}",
            "--phases=examples,coverage,fuzzing,stateful",
            "--continue-on-failure",
            "--request-timeout=20",
            "--warnings=off",
            "--no-color",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
        assert agreement(service) == []
