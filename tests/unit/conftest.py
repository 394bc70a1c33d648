"""What unit tests of a start share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory without anything in it."""
    made = tmp_path / "data"
    made.mkdir(0o700)
    yield made
    logging.captureWarnings(capture=False)
