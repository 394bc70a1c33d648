"""Plain values as YAML 1.2 in block style; every text is quoted, so that none is taken for something else."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Value: TypeAlias = Mapping[str, Any] | list[Any] | str | int | bool
_ASTRAL = 0xFFFF


def to_yaml(value: Value) -> str:
    """A document of mappings, lists, texts, integers and booleans."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Value) -> list[str]:
    """Collections by line; a scalar, or a collection with nothing in it, as the one line that it is."""
    match value:
        case Mapping() if value:
            return [line for name, item in value.items() for line in _named(_scalar(name), item)]
        case list() if value:
            return [line for item in value for line in _listed(item)]
        case _:
            return [_scalar(value)]


def _named(name: str, item: Value) -> list[str]:
    lines = _lines(item)
    if isinstance(item, (Mapping, list)) and item:
        return [f"{name}:", *(f"  {line}" for line in lines)]
    return [f"{name}: {lines[0]}"]


def _listed(item: Value) -> list[str]:
    first, *rest = _lines(item)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _scalar(value: Value) -> str:
    """JSON's spelling is YAML's too, but for the characters that YAML does not let stand in a quoted text."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escaped(char) for char in written)


def _escaped(char: str) -> str:
    return f"\\U{ord(char):08x}" if ord(char) > _ASTRAL else f"\\u{ord(char):04x}"
