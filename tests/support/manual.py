"""The documentation's pages, taken apart: headings, links, and blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.process import REPOSITORY

EN, RU = REPOSITORY / "docs" / "en", REPOSITORY / "docs" / "ru"
READMES = (REPOSITORY / "README.md", REPOSITORY / "README.ru.md")
PAGES = (
    "api.md",
    "container.md",
    "first-key.md",
    "index.md",
    "install.md",
    "migration.md",
    "nodes.md",
    "operations.md",
    "postgresql.md",
    "security.md",
    "troubleshooting.md",
    "webhooks.md",
)

_BLOCK = re.compile(r"^ *```(?P<kind>[^\n]*)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
_COMMENT = re.compile(r"(^|[ \t]{2,})#.*$", re.MULTILINE)

# At the beginning, after sudo, a variable or another command, by a path, or inside $(…).
_COMMAND = re.compile(r"(?:^\s*|sudo |&& |\$\(|bin/|=\S+ )(?P<command>vpnkeys [a-z].*)$")


class Block(NamedTuple):
    """A fenced block; `kind` is what stands behind the fence, such as `sh run`."""

    kind: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    return [Block(*found) for found in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def runnable(page: Path, language: str) -> list[str]:
    """The code of the blocks that are marked to be run."""
    return [block.code for block in blocks_of(page) if block.kind == f"{language} run"]


def links_of(page: Path) -> list[str]:
    """Where a page's links to this repository lead."""
    return _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))


def headings_of(page: Path) -> dict[str, str]:
    """Headings of a page, with the anchors that they get on the usual forges."""
    if page.is_dir():
        return {}
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    return {text: re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def sections_of(page: Path) -> list[str]:
    """A page cut at its headings of the second level; the first part is what stands before them."""
    return re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def commands_in(page: Path) -> list[str]:
    """Every command line of ours, from blocks of shell and from the text."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks_of(page) if block.kind.startswith("sh") for line in block.code.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))
    found = (_COMMAND.search(line) for line in [*lines, *spans])
    return [match["command"] for match in found if match is not None]


def without_comments(block: Block) -> Block:
    """The same block for a reader of any language: placeholders and comments may be translated."""
    lines = (line.rstrip() for line in _COMMENT.sub("", block.code).splitlines())
    return Block(block.kind, "\n".join(line for line in lines if line))
