"""What the command line does before the command that was called runs."""

import gc
import sys
from collections.abc import Iterator

import pytest

from vpnkeys.cli.main import main

MODULE = sys.modules["vpnkeys.cli.main"]


@pytest.fixture
def thawed() -> Iterator[None]:
    """Leave nothing frozen in the tests' process."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("thawed")
def test_what_is_imported_is_never_looked_through_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it is imported nor afterwards; what a command makes itself is."""
    seen: dict[str, object] = {}

    def command() -> None:
        seen["collects in the command"], seen["set apart"] = gc.isenabled(), gc.get_freeze_count() > 0

    def build_app(*_names: object) -> object:
        seen["collects while importing"] = gc.isenabled()
        return command

    monkeypatch.setattr(MODULE, "build_app", build_app)
    monkeypatch.setattr(sys, "argv", ["vpnkeys", "version"])
    main()
    assert seen == {"collects while importing": False, "collects in the command": True, "set apart": True}
