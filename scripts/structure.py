"""The structure of the source in numbers, each held against a bound: `python scripts/structure.py`.

Ends with 1 when a number is worse than its bound in `[tool.structure]` of pyproject.toml. A bound is only ever made
stricter; where a number must get worse, the change that lets it says why.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "vpnkeys"
GENERATED = ("_pb2.py",)

# Words that a newcomer has to decode, and comments that only machines read.
OLD_WORDS = (
    "Guest", "Guests", "Gated", "Guesses", "Together", "KeptReads", "_Kept", "Lines", "Cupboard", "Place", "Post",
    "Warmth", "Opaque", "Frame", "Site", "Passage", "judged", "judge_all", "young_deaths", "why_not", "is_yes",
    "Takeover", "knocks", "at the door", "whoever", "somebody", "is told", "are told",
)  # fmt: skip
_WORDS = {word: re.compile(rf"\b{re.escape(word)}\b") for word in OLD_WORDS}
_COLUMN = re.compile(r"""["']judged["']|AND judged =""")  # released databases have a column of this name
_FOR_MACHINES = re.compile(r"#\s*(noqa|type:|fmt:|pragma|!)")


class Largest(NamedTuple):
    """A number, and where it was found."""

    value: float
    where: str


@dataclass(frozen=True)
class Module:
    """One source file, read once."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The dotted name of the module."""
        parts = self.path.relative_to(SOURCE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def short(self) -> str:
        """The path below the package."""
        return str(self.path.relative_to(SOURCE))

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return self.text.count("\n")


def read_modules() -> list[Module]:
    """Return every hand-written Python file of the package."""
    paths = sorted(path for path in SOURCE.rglob("*.py") if not path.name.endswith(GENERATED))
    texts = [(path, path.read_text(encoding="utf-8")) for path in paths]
    return [Module(path, text, ast.parse(text)) for path, text in texts]


def largest_room(_modules: list[Module]) -> Largest:
    """Return the room with the most files, of whatever kind, without those of its sub-rooms."""
    rooms = [SOURCE, *(path for path in SOURCE.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    counted = ((sum(child.is_file() for child in room.iterdir()), str(room.relative_to(SOURCE))) for room in rooms)
    return Largest(*max(counted))


def longest_file(modules: list[Module]) -> Largest:
    """Return the file with the most lines."""
    return Largest(*max((module.lines, module.short) for module in modules))


def longest_function(modules: list[Module]) -> Largest:
    """Return the function with the most lines, its docstring included."""
    return Largest(*max(found for module in modules for found in _functions(module)))


def _functions(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield node.end_lineno - node.lineno + 1, f"{module.short}:{node.name}"


def largest_cycle(modules: list[Module]) -> Largest:
    """Return the largest set of modules that import each other, also those that do so inside functions; 1 is none."""
    names = {module.name for module in modules}
    graph = {module.name: {name for name in _imported(module) if name in names} for module in modules}
    groups = _strongly_connected(graph)
    biggest = max(groups, key=len)
    return Largest(len(biggest), ", ".join(sorted(biggest)) if len(biggest) > 1 else "none")


def _imported(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _strongly_connected(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of nodes that reach each other (two nodes belong together when each reaches the other)."""
    reach = {node: _reachable(graph, node) for node in graph}
    return [{other for other in reach[node] if node in reach[other]} | {node} for node in graph]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph[node]
    return seen


def comment_share(modules: list[Module]) -> Largest:
    """Return how many of a hundred lines of code have a comment for people, or a string that explains a name."""
    code = comments = 0
    for module in modules:
        notes = sum(1 for _ in _comments(module.text)) + sum(1 for _ in _explained_names(module.tree))
        comments += notes
        code += sum(1 for line in module.text.splitlines() if line.strip())
    return Largest(round(100 * comments / code, 2), f"{comments} of {code} lines")


def _comments(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not _FOR_MACHINES.match(token.string):
            yield token.string


def _explained_names(tree: ast.Module) -> Iterator[ast.Expr]:
    for before, after in pairwise(tree.body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(before, ast.Assign | ast.AnnAssign) and is_text and isinstance(after, ast.Expr):
            yield after


def old_words(modules: list[Module]) -> Largest:
    """Return how often a word that has to be decoded stands in the source."""
    found = [
        (len(pattern.findall(text)), f"{word} in {module.short}")
        for module, text in ((module, _COLUMN.sub("", module.text)) for module in modules)
        for word, pattern in _WORDS.items()
        if pattern.search(text)
    ]
    return Largest(sum(count for count, _ in found), ", ".join(where for _, where in found[:6]) or "none")


def contracts(_modules: list[Module]) -> Largest:
    """Return how many import contracts are kept by the linter."""
    found = _pyproject()["tool"]["importlinter"]["contracts"]
    return Largest(len(found), "pyproject.toml")


def _pyproject() -> dict[str, dict[str, dict[str, list[object]]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


class Measure(NamedTuple):
    """One number: what it is called, how it is measured, and whether more of it is worse."""

    name: str
    of: Callable[[list[Module]], Largest]
    more_is_worse: bool = True


MEASURES = (
    Measure("files in the largest room", largest_room),
    Measure("lines of the longest file", longest_file),
    Measure("lines of the longest function", longest_function),
    Measure("modules in the largest import cycle", largest_cycle),
    Measure("words that have to be decoded", old_words),
    Measure("comments in a hundred lines", comment_share, more_is_worse=False),
    Measure("import contracts", contracts, more_is_worse=False),
)


def verdict(measure: Measure, value: float, bound: float) -> str:
    """Return what is wrong with a number, or nothing."""
    is_worse = value > bound if measure.more_is_worse else value < bound
    return f"{measure.name}: {value:g}, at {'most' if measure.more_is_worse else 'least'} {bound:g}" if is_worse else ""


def main() -> int:
    """Print the numbers; return 1 when one is worse than its bound."""
    bounds = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["structure"]
    modules = read_modules()
    faults = []
    for measure in MEASURES:
        value, where = measure.of(modules)
        bound = float(bounds[measure.name])
        sys.stdout.write(f"{measure.name:38} {value:8g}   bound {bound:6g}   {where}\n")
        faults.append(verdict(measure, value, bound))
    for fault in filter(None, faults):
        sys.stdout.write(f"worse than its bound: {fault}\n")
    return 1 if any(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
