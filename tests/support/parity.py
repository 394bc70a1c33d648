"""Tells the tests of the contract suite apart by their kind of database, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

KINDS = ("fake", "sqlite", "postgresql")
# What is fake in test_node.py is Xray, and no database.
_KIND = re.compile(rf"^tests/contract/(?!test_node\.).*\[(?:.*-)?({'|'.join(KINDS)})(?:-.*)?\]$")


def by_kind(tests: Iterable[str]) -> dict[str, set[str]]:
    """Return those of the contract suite that are for a kind of database, by names in which the kind is left out."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for test in tests:
        if kind := _KIND.match(test):
            found[kind[1]].add(test[: kind.start(1)] + test[kind.end(1) :])
    return found
