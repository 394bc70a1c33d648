"""The figures of the README are those of docs/bench.json."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.bench import shown
from tests.bench.shown import ENGLISH, KEPT, LANGUAGES, PLOT


def test_what_is_shown_was_measured() -> None:
    """Tables and plot are what the script makes of the figures that are kept."""
    assert {path: path.read_text(encoding="utf-8") for path in shown.shown(shown.figures_in(KEPT))} == shown.shown(
        shown.figures_in(KEPT)
    )
    assert all("<!-- figures -->" in language.file.read_text(encoding="utf-8") for language in LANGUAGES)


def test_the_languages_show_the_same() -> None:
    """The same rows in the same order, and no floor without words."""
    assert len({tuple(language.rows) for language in LANGUAGES}) == 1
    floors = {figure["floor_is"] for name, figure in shown.figures_in(KEPT).items() if name in ENGLISH.rows}
    assert all(floors <= language.floors.keys() for language in LANGUAGES)


def test_the_plot_is_an_image() -> None:
    """A line each for what was measured and for the least that is possible."""
    root = ET.parse(PLOT).getroot()  # noqa: S314 - our own file
    classes = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}path")]
    assert {"ours", "floor"} <= set(classes)


def test_a_part_of_a_benchmark_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written, and what is missing is named."""
    before = KEPT.read_bytes()
    (part := tmp_path / "bench.json").write_text(json.dumps([{"name": "get one key, p50"}]))
    assert shown.main([str(part)]) == 1
    assert "not measured: create, 50 keys, p50" in capsys.readouterr().err
    assert KEPT.read_bytes() == before
