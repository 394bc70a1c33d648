"""The user's page, read by a machine: what each endpoint answers, and the `curl` lines."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "api-2.3.4.ru.md"

_ENDPOINT = re.compile(r"^\*\*(GET|POST|DELETE)\*\* `([^`]+)`", re.MULTILINE)
_JSON_BLOCK = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BASH_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Documented:
    """An endpoint, the body it is sent on the page, and the answer that the page shows."""

    method: str
    path: str
    body: Any
    answer: Any

    @property
    def id(self) -> str:
        """What a test of it is called."""
        return f"{self.method} {self.path}"


def endpoints() -> list[Documented]:
    """Every endpoint with its blocks, in the page's order."""
    text = PAGE.read_text(encoding="utf-8")
    heads = list(_ENDPOINT.finditer(text))
    ends = [head.start() for head in heads[1:]] + [text.index("## 📝 Коды ошибок")]
    return [_documented(head[1], head[2], text[head.end() : end]) for head, end in zip(heads, ends, strict=True)]


def _documented(method: str, path: str, section: str) -> Documented:
    blocks = [json.loads(_without_ellipses(block)) for block in _JSON_BLOCK.findall(section)]
    *body, answer = blocks
    return Documented(method, path, body[0] if body else None, answer)


def _without_ellipses(block: str) -> str:
    """`{...}` and `[...]` stand for whatever is in there."""
    return block.replace("{...}", "{}").replace("[...]", "[]")


def curl_lines() -> list[str]:
    """Every `curl` command of the page, on one line each."""
    blocks = _BASH_BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [re.sub(r"\\\n\s*", " ", block).strip() for block in blocks]


def differences(shown: Any, actual: Any, place: str = "answer") -> list[str]:  # noqa: ANN401  (any JSON)
    """How an answer differs in fields, types and form from the one on the page; more fields are welcome."""
    if type(shown) is not type(actual):
        return [f"{place}: {type(actual).__name__} instead of {type(shown).__name__}"]
    if isinstance(shown, dict):
        missing = [f"{place}.{name} is missing" for name in shown.keys() - actual.keys()]
        common = [differences(shown[name], actual[name], f"{place}.{name}") for name in shown.keys() & actual.keys()]
        return missing + [line for lines in common for line in lines]
    if isinstance(shown, list):
        return [line for item in actual for line in (differences(shown[0], item, f"{place}[]") if shown else [])]
    return [] if _same_form(shown, actual) else [f"{place}: {actual!r} is not of the form of {shown!r}"]


_FORMS = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    r"[0-9a-f]{16}",
    r"vless://.*",
    r"\d+-\d+",
)


def _same_form(shown: object, actual: object) -> bool:
    """Timestamps, hex strings and links keep their form; Unix seconds are of today's order of magnitude."""
    if isinstance(shown, str):
        return all(re.fullmatch(form, str(actual)) for form in _FORMS if re.fullmatch(form, shown))
    if isinstance(shown, int) and shown > 1_000_000_000:
        return 1_000_000_000 < int(str(actual)) < 10_000_000_000
    return True
