"""The OpenAPI document leaves nothing unsaid: each property, parameter and operation has a sentence and an example."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydantic import BaseModel

from vpnkeys import wire
from vpnkeys.api.app import create_app
from vpnkeys.api.cors import READABLE
from vpnkeys.api.pages.described import FIELDS, example_of
from vpnkeys.api.services import Services

Named = tuple[str, dict[str, Any]]


def _document() -> dict[str, Any]:
    given: dict[str, Any] = {field.name: MagicMock() for field in fields(Services)}
    app: Any = create_app(Services(**{**given, "rate_limits": {}, "cors_origins": (), "public_url": ""}))
    while not hasattr(app, "openapi"):  # below what checks each request
        app = app._app
    document: dict[str, Any] = app.openapi()
    return document


DOCUMENT = _document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def _operations() -> Iterator[Named]:
    for path, methods in DOCUMENT["paths"].items():
        yield from ((f"{method.upper()} {path}", operation) for method, operation in methods.items())


def _properties() -> Iterator[Named]:
    for model, schema in SCHEMAS.items():
        yield from ((f"{model}.{name}", one) for name, one in schema.get("properties", {}).items())


def _parameters() -> Iterator[Named]:
    for name, operation in _operations():
        yield from ((f"{name} {one['name']}", one) for one in operation.get("parameters", ()))


def test_there_is_something_to_count() -> None:
    """Otherwise the next tests would see nothing."""
    assert len([*_properties()]) > 350
    assert len([*_operations()]) > 50
    assert len([*_parameters()]) > 30


def test_each_property_has_a_sentence_and_an_example() -> None:
    """None is missing."""
    missing = [name for name, one in _properties() if not one.get("description") or "examples" not in one]
    assert missing == []


def test_each_parameter_has_a_sentence_and_an_example() -> None:
    """None is missing."""
    missing = [name for name, one in _parameters() if not one.get("description") or one.get("example") is None]
    assert missing == []


def test_each_operation_has_a_sentence_and_examples() -> None:
    """Of what it takes and of what it answers, where that is JSON."""
    for name, operation in _operations():
        assert operation.get("description"), name
        bodies = [operation.get("requestBody", {}), operation["responses"].get("200", {})]
        contents = [body.get("content", {}).get("application/json") for body in bodies]
        assert all(content.get("example") is not None for content in contents if content), name


def test_pages_of_other_origins_may_read_the_headers_that_are_described() -> None:
    """Those that answers refer to are described, and a page of another origin may read each."""
    responses = [one for _, operation in _operations() for one in operation["responses"].values()]
    named = {name for response in responses for name in response.get("headers", {})}
    assert {"Link", "Retry-After", "X-Request-ID"} <= named
    assert named == set(DOCUMENT["components"]["headers"])
    assert named <= set(READABLE)


def _models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.iter_modules(wire.__path__):
        for model in vars(import_module(f"{wire.__name__}.{module.name}")).values():
            if isinstance(model, type) and issubclass(model, BaseModel) and model.__name__ in SCHEMAS:
                yield model


MODELS = {model.__name__: model for model in _models()}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_each_example_is_one(name: str) -> None:
    """What is shown as an answer is read as one, and what is shown as a request is taken."""
    MODELS[name].model_validate(example_of(SCHEMAS[name], SCHEMAS))


def test_each_row_describes_something() -> None:
    """None is left over from a field that has gone."""
    names = {name.partition(".")[2] for name, _ in _properties()} | {one["name"] for _, one in _parameters()}
    assert [row for row in FIELDS if row.rpartition(".")[2] not in names] == []
