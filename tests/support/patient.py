"""A service that lets Xray hang for a minute instead of ten seconds, so that a test can look at it for as long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.service import Service
from tests.support.target import RealityTarget

_SERVE = """
import sys
from vpnkeys.cli.main import main
from vpnkeys.xray.process import hang
hang.HUNG_AFTER_S = 60.0
sys.argv = ["vpnkeys", "serve"]
main()
"""


@contextmanager
def patient_service(target: RealityTarget, egress: Sequence[str]) -> Iterator[Service]:
    """Run it, ready."""
    service = Service(target, egress_allow=egress)
    service.command = ("-c", _SERVE)
    with service:
        service.wait_ready()
        yield service
