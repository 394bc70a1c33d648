"""The structure of the source stays within its bounds, and the script that says so can tell."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.process import REPOSITORY


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    """Load scripts/structure.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("structure", REPOSITORY / "scripts" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_number_is_within_its_bound() -> None:
    """No room, file, function, cycle or wording is worse than pyproject.toml lets it be.

    In a process of its own: Python 3.11 counts the depth of all trees that its threads read as that of one.
    """
    script = [sys.executable, str(REPOSITORY / "scripts" / "structure.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_number_that_is_worse_is_named(structure: ModuleType) -> None:
    """More is worse of some numbers, less of others."""
    size, share = structure.MEASURES[0], structure.Measure("share", structure.comment_share, more_is_worse=False)
    assert structure.verdict(size, 21, 20) == "files in the largest room: 21, at most 20"
    assert structure.verdict(share, 2, 3) == "share: 2, at least 3"
    assert structure.verdict(size, 20, 20) == structure.verdict(share, 3, 3) == ""


def test_what_is_measured_is_found(structure: ModuleType) -> None:
    """A cycle, a long function, a comment and an old word in made-up modules are seen."""

    def module(name: str, text: str) -> object:
        return structure.Module(structure.SOURCE / name, text, ast.parse(text))

    one = module("one.py", "def f():\n    import vpnkeys.two\n    # why\n    return 1\n")
    two = module("two.py", "from vpnkeys import one\nGuests = 1  # noqa: N816\n")
    assert structure.largest_cycle([one, two]).value == 2
    assert structure.longest_function([one, two]) == (4, "one.py:f")
    assert structure.comment_share([one]).value == 25
    assert structure.comment_share([two]).value == 0
    assert structure.old_words([one, two]) == (1, "Guests in two.py")


def test_the_path_of_a_module_is_its_name(structure: ModuleType) -> None:
    """A package is named by its directory."""
    assert structure.Module(Path(structure.SOURCE / "api/__init__.py"), "", ast.parse("")).name == "vpnkeys.api"
