"""Shows the figures of a benchmark in the README: `python -m tests.bench.shown [FILE]`.

FILE is what `./test --bench` wrote (build/bench.json). Of it, what the README shows is kept in docs/bench.json; from
that come a table in each language and a plot of what a new key takes beside how many there are.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.plot import Point, drawn
from tests.support.process import REPOSITORY

KEPT = REPOSITORY / "docs" / "bench.json"
PLOT = REPOSITORY / "docs" / "images" / "create.svg"

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Language:
    """A README, and its words for the table."""

    file: Path
    head: tuple[str, ...]
    units: Mapping[str, str]
    rows: Mapping[str, str]
    floors: Mapping[str, str]


ENGLISH = Language(
    REPOSITORY / "README.md",
    ("what", "takes", "the least possible", "is"),
    {"1/s": "a second"},
    {
        "create, 50 keys, p50": "create a key beside 50",
        "create, 1000 keys, p50": "create a key beside 1,000",
        "delete, 1000 keys, p50": "delete one of 1,000 keys",
        "get one key, p50": "get one key",
        "list 100 keys, p50": "list 100 keys",
        "get one key, 16 connections": "get one key, 16 connections",
        "answer to first byte, p50": "first byte through a new link",
        "Xray killed to the key working again": "Xray killed, until a key works again",
        "start to first answer, 100 keys": "start to first answer, 100 keys",
        "memory, 100 keys, idle": "memory, 100 keys",
        "download through the VPN, p50": "download through the VPN, one customer",
    },
    {
        "AddInbound, commit, config.json": "Xray's part and two durable writes",
        "empty server": "a server that does nothing",
        "its next connection": "its second connection",
        "the same Xray by hand": "the same Xray, started by hand",
        "its libraries alone": "its libraries alone",
        "Xray without mark and guard": "the same Xray alone",
    },
)
RUSSIAN = Language(
    REPOSITORY / "README.ru.md",
    ("что", "занимает", "нижний предел", "это"),
    {"1/s": "в секунду", "ms": "мс", "s": "с", "MB": "МБ", "MB/s": "МБ/с"},
    {
        "create, 50 keys, p50": "создать ключ при 50 имеющихся",
        "create, 1000 keys, p50": "создать ключ при 1000 имеющихся",
        "delete, 1000 keys, p50": "удалить один из 1000 ключей",
        "get one key, p50": "получить один ключ",
        "list 100 keys, p50": "список из 100 ключей",
        "get one key, 16 connections": "получить один ключ, 16 соединений",
        "answer to first byte, p50": "первый байт по новой ссылке",
        "Xray killed to the key working again": "Xray убит — ключ снова работает",
        "start to first answer, 100 keys": "от запуска до первого ответа, 100 ключей",
        "memory, 100 keys, idle": "память, 100 ключей",
        "download through the VPN, p50": "скачивание через VPN, один клиент",
    },
    {
        "AddInbound, commit, config.json": "работа Xray и две записи на диск",
        "empty server": "сервер с пустым ответом",
        "its next connection": "второе соединение",
        "the same Xray by hand": "тот же Xray, запущенный вручную",
        "its libraries alone": "одни его библиотеки",
        "Xray without mark and guard": "тот же Xray сам по себе",
    },
)
LANGUAGES = (ENGLISH, RUSSIAN)

_TABLE = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->\n)", re.DOTALL)
_CREATE = re.compile(r"create, (\d+) keys, p50")


class NoFigureError(Exception):
    """A figure that is shown was not measured."""


def figures_in(file: Path) -> Figures:
    """Return the figures of a benchmark by their names."""
    return {figure["name"]: figure for figure in json.loads(file.read_text(encoding="utf-8"))}


def number(value: float) -> str:
    """A value with three digits."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{max(0, 2 - math.floor(math.log10(value))) if value else 0}f}"


def table(figures: Figures, language: Language) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| {' | '.join(language.head)} |\n"
    yield "|---|--:|---|--:|\n"
    for name, words in language.rows.items():
        figure = figures[name]
        unit = language.units.get(figure["unit"], figure["unit"])
        floor = f"{language.floors[figure['floor_is']]}: {number(figure['floor'])}"
        yield f"| {words} | {number(figure['value'])} {unit} | {floor} | {figure['ratio']:.2f} × |\n"


def creations(figures: Figures) -> list[Point]:
    """Return what a creation takes, by the number of keys that are there."""
    found = ((_CREATE.fullmatch(name), figure) for name, figure in figures.items())
    return sorted(Point(int(match[1]), figure["value"], figure["floor"]) for match, figure in found if match)


def _with_table(page: str, lines: Iterator[str]) -> str:
    content = f"\n{''.join(lines)}\n"
    return _TABLE.sub(lambda found: found[1] + content + found[2], page)


def shown(figures: Figures) -> dict[Path, str]:
    """Return the content of each file that shows figures."""
    pages = {
        language.file: _with_table(language.file.read_text(encoding="utf-8"), table(figures, language))
        for language in LANGUAGES
    }
    return {**pages, PLOT: drawn(creations(figures))}


def kept(figures: Figures) -> str:
    """Return the figures that are shown, as JSON. Raises NoFigureError."""
    if missing := [name for name in ENGLISH.rows if name not in figures]:
        raise NoFigureError(f"not measured: {', '.join(missing)}; run ./test --bench as a whole")
    wanted = [figure for name, figure in figures.items() if name in ENGLISH.rows or _CREATE.fullmatch(name)]
    return json.dumps(wanted, indent=2) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write docs/bench.json, the tables and the plot."""
    file = Path(arguments[0]) if arguments else REPOSITORY / "build" / "bench.json"
    try:
        KEPT.write_text(kept(figures_in(file)), encoding="utf-8")
    except (OSError, ValueError, NoFigureError) as error:
        sys.stderr.write(f"{file}: {error}\n")
        return 1
    for path, content in shown(figures_in(KEPT)).items():
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
