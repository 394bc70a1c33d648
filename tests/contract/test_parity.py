"""The contract suite is the same on each kind of database; a run of it says how many tests passed on which."""

from __future__ import annotations

import subprocess
import sys

from tests.support.parity import by_kind
from tests.support.process import REPOSITORY


def test_each_kind_of_database_has_the_same_tests() -> None:
    """Both kinds of real ones the same, and the fake one all that needs no other process and no file."""
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/contract"]
    done = subprocess.run(collect, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = by_kind(done.stdout.splitlines())
    assert tests["sqlite"] == tests["postgresql"]
    assert tests["fake"] <= tests["sqlite"]
    assert "tests/contract/test_store.py::test_concurrent_writers_lose_nothing[]" in tests["fake"]
