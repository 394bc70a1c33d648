"""The dashboard's types of the API (web/types/api.d.ts) are those of the server's OpenAPI document.

The TypeScript compiler checks the page against these types, and this checks the types against the server: what the page
uses and the server does not have fails in one of the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
from tests.support.service import Service

pytestmark = pytest.mark.e2e

_TEXT = files("vpnkeys").joinpath("web", "types", "api.d.ts").read_text(encoding="utf-8")
_TABLES = {
    "GetAnswers": ("get", "answer"),
    "PostAnswers": ("post", "answer"),
    "PatchAnswers": ("patch", "answer"),
    "DeleteAnswers": ("delete", "answer"),
    "PostBodies": ("post", "body"),
    "PatchBodies": ("patch", "body"),
}
_BEGIN = re.compile(r"interface (\w+) \{")
_ALIAS = re.compile(r"type (\w+) = (.+);")
_PROPERTY = re.compile(r'(?:"([^"]+)"|\[\w+: `([^`]+)`\]|(\w+\??)): (.+);')
_RECORD = re.compile(r"Record<string, (.+)>")
_SIMPLE = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


@dataclass
class Types:
    """What the declaration file says: the properties of each interface, and the other names of types."""

    interfaces: dict[str, dict[str, str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Types:
        """Return the types of a file; a line of another form is an error, so that nothing is passed over."""
        types, current = cls(), dict[str, str]()
        for line in map(str.strip, text.splitlines()):
            if not line or line.startswith("//") or line in {"}", "declare namespace Api {"}:
                continue
            if begin := _BEGIN.fullmatch(line):
                current = types.interfaces.setdefault(begin[1], {})
            elif alias := _ALIAS.fullmatch(line):
                types.aliases[alias[1]] = alias[2]
            else:
                found = _PROPERTY.fullmatch(line)
                assert found, line
                current[found[1] or found[2] or found[3]] = found[4]
        return types

    def shape(self, name: str) -> object:
        """Return a type with every name replaced by what it stands for."""
        if name in self.aliases:
            return self.shape(self.aliases[name])
        if name in self.interfaces:
            return _object((key, self.shape(value)) for key, value in self.interfaces[name].items())
        if " | " in name:
            return frozenset(self.shape(part) for part in name.split(" | "))
        if record := _RECORD.fullmatch(name):
            return ("map", self.shape(record[1]))
        if name.endswith("[]"):
            return ("list", self.shape(name.removesuffix("[]")))
        assert name in {*_SIMPLE.values(), "unknown"} or name.startswith('"'), name
        return name


@dataclass
class Described:
    """What the OpenAPI document says."""

    document: dict[str, Any]

    def schema(self, method: str, path: str, part: str) -> dict[str, Any]:
        """Return the schema of a route's answer or body."""
        operation = self.document["paths"][path][method]
        holder = operation["responses"]["200"] if part == "answer" else operation["requestBody"]
        found: dict[str, Any] = holder["content"]["application/json"]["schema"]
        return found

    def shape(self, schema: dict[str, Any], part: str) -> object:
        """Return a schema in the same form as a type. An answer has all its properties, a body those that it must."""
        if "$ref" in schema:
            return self.shape(self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], part)
        if "anyOf" in schema:
            return frozenset[object]().union(*(_options(self.shape(one, part)) for one in schema["anyOf"]))
        if literals := schema.get("enum", [schema["const"]] if "const" in schema else []):
            options = frozenset(f'"{literal}"' for literal in literals)
            return options if len(options) > 1 else next(iter(options))
        return self._container(schema, part) or _SIMPLE[schema["type"]]

    def _container(self, schema: dict[str, Any], part: str) -> object:
        if schema["type"] == "array":
            return ("list", self.shape(schema["items"], part))
        if "properties" in schema:
            must = schema.get("required", ()) if part == "body" else schema["properties"]
            return _object(
                (name if name in must else f"{name}?", self.shape(one, part))
                for name, one in schema["properties"].items()
            )
        if schema["type"] == "object":
            values = schema["additionalProperties"]
            return ("map", self.shape(values, part) if isinstance(values, dict) else "unknown")
        return None


def _object(properties: Iterable[tuple[str, object]]) -> object:
    """Return what can be one of several choices."""
    return ("object", frozenset(properties))


def _options(shape: object) -> frozenset[object]:
    return shape if isinstance(shape, frozenset) else frozenset([shape])


_TYPES = Types.read(_TEXT)
_ROUTES = [
    pytest.param(*_TABLES[table], path.replace("${string}", "{}"), type_, id=f"{table}: {path}")
    for table in _TABLES
    for path, type_ in _TYPES.interfaces[table].items()
]


@pytest.fixture(scope="module")
def described(service: Service) -> Described:
    """Return the document of the running server, with the names of its path parameters left out."""
    document = service.client.get("/openapi.json").raise_for_status().json()
    document["paths"] = {re.sub(r"\{\w+\}", "{}", path): item for path, item in document["paths"].items()}
    return Described(document)


@pytest.mark.parametrize(("method", "part", "path", "type_"), _ROUTES)
def test_a_route_has_the_shape_that_the_page_expects(
    described: Described, method: str, part: str, path: str, type_: str
) -> None:
    """The same names, the same types, the same words of each choice."""
    schema = described.schema(method, path, part)
    if type_ != "unknown":
        assert _TYPES.shape(type_) == described.shape(schema, part)


def test_every_type_belongs_to_a_route() -> None:
    """None stays behind when the route that it was for is gone."""
    words = set(re.findall(r"\w+", " ".join([*_TYPES.aliases.values(), *_values()])))
    assert set(_TYPES.interfaces) - set(_TABLES) - words == set()
    assert set(_TYPES.aliases) - words == set()


def _values() -> list[str]:
    return [value for interface in _TYPES.interfaces.values() for value in interface.values()]
