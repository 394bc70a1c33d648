"""`vpnkeys doctor` as an operator runs it, and does what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.in_process import call
from tests.support.service import Service

CHECKS = {
    "server", "clock", "ports", "firewall", "certificate", "disk", "permissions", "descriptors", "xray", "targets",
    "database", "backups", "health", "drift", "nodes", "kernel", "settings", "self-test",
}  # fmt: skip
FIELDS = {"check", "level", "message", "mend"}


@dataclass(frozen=True)
class Report:
    """What the doctor said."""

    code: int
    findings: list[dict[str, str]]
    document: dict[str, Any] = field(default_factory=dict)

    def of(self, check: str, level: str) -> list[dict[str, str]]:
        """The findings of a check that are that bad."""
        return [found for found in self.findings if (found["check"], found["level"]) == (check, level)]

    def failed(self) -> list[str]:
        """The checks that failed."""
        return sorted({found["check"] for found in self.findings if found["level"] == "fail"})


def examine_as_program(service: Service) -> Report:
    """Run it as an operator would who knows nothing but where the data is."""
    done = subprocess.run(
        [sys.executable, "-m", "vpnkeys", "doctor", "--json"],
        env=_environment(service),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return _report(done)


def examine(service: Service, **environment: str) -> Report:
    """Call it, in the same environment."""
    return _report(call(("doctor", "--json"), _environment(service) | environment, Path("/")))


def quick(service: Service) -> Report:
    """Call it, with a server that runs, without the self-test."""
    return _report(call(("doctor", "--json", "--no-self-test"), _environment(service), Path("/")))


def _environment(service: Service) -> dict[str, str]:
    base = {name: value for name, value in service.env.items() if not name.startswith("VPNKEYS_")}
    return {**base, "VPNKEYS_DATA_DIR": str(service.data_dir)}


def _report(done: subprocess.CompletedProcess[str]) -> Report:
    assert not done.stderr, done.stderr
    document = json.loads(done.stdout)
    assert all(found.keys() == FIELDS for found in document["findings"])
    return Report(done.returncode, document["findings"], document)


def follow(service: Service, tmp_path: Path, mend: str) -> None:
    """Do what a finding says, word for word, in a shell."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    program = programs / "vpnkeys"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vpnkeys "$@"\n')
    program.chmod(0o755)
    environment = {**service.env, "PATH": f"{programs}:{service.env['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", mend], env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, (mend, done.stderr)
