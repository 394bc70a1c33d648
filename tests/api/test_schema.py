"""The OpenAPI document is true: schemathesis tries everything that it says against the real service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.agreement import agreement
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

_EXAMPLES = "25"

# Whether keys can be made also depends on what was before: an Idempotency-Key that came with another body is refused,
# and so are more keys than there are ports. The paths under `bulk` are paths of a key, too, for methods that are not
# their own: `GET /api/keys/bulk` is no wrong method, but asks for the key "bulk".
_CONFIG = """
[[operations]]
include-name = ["POST /api/keys", "POST /api/keys/bulk"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "503"]

[[operations]]
include-path-regex = "^/api/keys/bulk"
checks.allow_header_conformance.enabled = false
"""


def test_nothing_in_the_openapi_document_is_untrue(target: RealityTarget, tmp_path: Path) -> None:
    """No failure of any check of schemathesis, no 5xx, and database, file and Xray agree afterwards."""
    with Service(target, port_count=600) as service:
        service.wait_ready()
        (tmp_path / "schemathesis.toml").write_text(_CONFIG)
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{service.base_url}/openapi.json",
            f"--header=X-API-Key: {service.api_key}",
            f"--tls-verify={service.data_dir / 'tls' / 'cert.pem'}",
            f"--max-examples={_EXAMPLES}",
            "--phases=examples,coverage,fuzzing,stateful",
            "--continue-on-failure",
            "--request-timeout=20",
            "--warnings=off",
            "--no-color",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
        assert agreement(service) == []
